package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"govmd/internal/runstate"
)

// endTime is how long an orderly end may take, whatever the guest, a client or
// the peer of a character device does.
const endTime = 5 * time.Second

// signalError says which signal ended the start.
type signalError struct{ sig syscall.Signal }

func (e *signalError) Error() string {
	return fmt.Sprintf("terminated by signal %d before the machine was there", e.sig)
}

// errQuitKey says that the user typed C-a x.
var errQuitKey = errors.New("terminated from the terminal before the machine was there")

// causeOf is what clients are told of an interruption.
func causeOf(ctx context.Context) runstate.Cause {
	if errors.Is(context.Cause(ctx), errQuitKey) {
		return runstate.CauseHostUI
	}
	return runstate.CauseHostSignal
}

// watchSignals has the signals that ask a process to end interrupt the program;
// stop ends the watch. From such a signal on the end of the process is near.
func (v *vm) watchSignals() (stop func()) {
	signal.Ignore(syscall.SIGPIPE) // of a socket or a pipe: the write says so
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case sig := <-signals:
			n := sig.(syscall.Signal)
			defer v.endBy(endTime)()
			v.interrupt(&signalError{n})
			v.log.Infof("terminating on signal %d", n) // to where nobody reads: blocks
			<-over
		case <-over:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
		<-done
	}
}

// endBy ends the process the hard way unless the returned function is called in
// time.
func (v *vm) endBy(limit time.Duration) (ended func()) {
	t := time.AfterFunc(limit, v.abandon)
	return func() { t.Stop() }
}
