package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// endTime is how long an orderly end may take, whatever the guest, a client or
// the peer of a character device does.
const endTime = 5 * time.Second

// signalError says which signal ended the start.
type signalError struct{ sig syscall.Signal }

func (e *signalError) Error() string {
	return fmt.Sprintf("terminated by signal %d before the machine was there", e.sig)
}

// untilSignal returns a context that ends when the process is asked to; stop
// ends the watch. From that signal on the end of the process is near.
func (v *vm) untilSignal() (ctx context.Context, stop func()) {
	signal.Ignore(syscall.SIGPIPE) // of a socket or a pipe: the write says so
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithCancelCause(context.Background())
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case sig := <-signals:
			n := sig.(syscall.Signal)
			defer v.endBy(endTime)()
			cancel(&signalError{n})
			v.log.Infof("terminating on signal %d", n) // to where nobody reads: blocks
			<-over
		case <-over:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		<-done
		cancel(nil)
	}
}

// endBy ends the process the hard way unless the returned function is called in
// time.
func (v *vm) endBy(limit time.Duration) (ended func()) {
	t := time.AfterFunc(limit, v.abandon)
	return func() { t.Stop() }
}
