package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"govmd/internal/block/blockjob"
	"govmd/internal/block/control"
	"govmd/internal/block/export"
	"govmd/internal/block/nbd/server"
	"govmd/internal/chardev"
	"govmd/internal/event"
	"govmd/internal/fd"
	"govmd/internal/job"
	"govmd/internal/kvm"
	"govmd/internal/lane"
	"govmd/internal/machine"
	"govmd/internal/monitor"
	"govmd/internal/monitor/human"
	"govmd/internal/net"
	"govmd/internal/object"
	"govmd/internal/qmp"
	"govmd/internal/runstate"
	"govmd/internal/yank"
)

// vm is the running program: the machine with what surrounds it.
type vm struct {
	setup    *setup
	cfg      machine.Config
	lane     *lane.Lane
	bus      event.Bus
	log      *logrus.Logger
	fds      fd.Table
	yanks    yank.Registry
	chardevs chardev.Registry
	objects  object.Collection // /objects
	registry *qmp.Registry
	monitor  *monitor.Monitor
	human    *human.Monitor
	machine  *machine.Machine
	net      *net.Net
	control  *control.Control // of images and drives; nil before they are opened
	// jobs and those of them that are about images; nil as control is.
	jobs      *job.Manager
	blockJobs *blockjob.Manager
	exports   *export.Set    // with control
	nbd       *server.Server // with control
	pidFile   *pidFile
	logFile   atomic.Pointer[logFile] // of -D or logfile; nil for none
	logSplit  *splitter
	// logChange is held while logFile is replaced or opened anew.
	logChange sync.Mutex
	daemon    *daemon   // nil when we are none
	notifier  *notifier // nil when nobody wants to hear
	// interrupt ends the program, whether there is a machine yet or not. It is
	// set before anybody is there who could call it.
	interrupt context.CancelCauseFunc
	starting  context.Context // ends with interrupt: opening an image can take long
	undo      []func()
}

// newVM turns what was asked for into a configuration.
func newVM(s *setup, d *daemon) (v *vm, err error) {
	v = &vm{setup: s, lane: lane.New(), daemon: d}
	if v.notifier, err = newNotifier(); err != nil {
		return nil, err
	}
	if err := v.addFDs(); err != nil { // the log may be one of them
		return nil, err
	}
	if err := v.openLog(); err != nil {
		return nil, err
	}
	for _, w := range s.warnings {
		v.log.Warn(w)
	}
	if err := v.configure(); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *vm) openLog() error {
	var w io.Writer = os.Stderr
	if name := v.setup.logFile; name != "" {
		f, err := openLogFile(&v.fds, name)
		if err != nil {
			return &usageError{"-D " + name, pathReason(err)}
		}
		w = f
		v.logFile.Store(f)
	}
	v.log, v.logSplit = newLogger(w, os.Stderr)
	v.log.SetLevel(logLevel(v.setup.logItems))
	return nil
}

// live builds the machine, serves until it is over and returns the exit status.
// Whatever happens, nothing is left behind.
func (v *vm) live() (code int, err error) {
	runtime.GOMAXPROCS(kvm.Procs(v.cfg.SMP.CPUs, 0))
	ctx, interrupt := context.WithCancelCause(context.Background())
	v.starting, v.interrupt = ctx, interrupt
	defer interrupt(nil)
	defer v.watchSignals()()
	defer v.watchLogSignal()()
	defer v.close()
	if err := v.build(ctx); err != nil {
		return 1, err
	}
	return v.wait(ctx)
}

func (v *vm) onClose(fn func()) { v.undo = append(v.undo, fn) }

// build makes the machine and everything around it. When ctx ends before there
// is a machine it gives up. After an error close leaves nothing behind.
func (v *vm) build(ctx context.Context) error {
	go v.lane.Run()
	for _, step := range []func(context.Context) error{
		v.nameProcess, v.writePIDFile, v.lockMemory, v.onLane(v.makeObjects), v.openChardevs, v.openNetdevs,
		v.onLane(v.makeMachine), v.serve, v.announce,
	} {
		err := step(ctx)
		switch {
		case ctx.Err() == nil && err == nil:
		case ctx.Err() == nil:
			return err
		case v.machine == nil:
			return context.Cause(ctx)
		default:
			return nil // wait ends it
		}
	}
	return nil
}

// serve lets clients in and the machine run. That is one function on the lane: no
// client's command comes in between.
func (v *vm) serve(ctx context.Context) error {
	return v.onLane(func() error {
		for _, step := range []func(context.Context) error{v.serveMonitors, v.serveQtest, v.dropPrivileges} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil // the program is to end
		}
		return v.start()
	})(ctx)
}

// onLane returns fn as a step that runs on the control lane.
func (v *vm) onLane(fn func() error) func(context.Context) error {
	return func(context.Context) (err error) {
		if e := v.lane.Do(context.Background(), func() { err = fn() }); e != nil {
			return e
		}
		return err
	}
}

func (v *vm) nameProcess(context.Context) error {
	name := v.setup.processName
	if name == "" {
		return nil
	}
	// The name of the process is that of its first thread, which may not be ours.
	if err := os.WriteFile("/proc/self/comm", []byte(name), 0); err != nil {
		return &usageError{"-name process=" + name, pathReason(err)}
	}
	return nil
}

func (v *vm) makeMachine() (err error) {
	v.machine, err = machine.New(v.cfg)
	if err != nil {
		return err
	}
	if err := v.checkDrives(); err != nil {
		return err
	}
	return v.growTree(v.machine.Root)
}

// start lets the machine run, unless it is to wait for a client.
func (v *vm) start() error {
	v.machine.CheckGlobals()
	v.noticeMissing()
	if v.setup.paused {
		return nil
	}
	err := v.machine.Run.Start()
	if e := (*qmp.Error)(nil); errors.As(err, &e) && e.Class == qmp.ClassDeviceEncrypted {
		v.log.Warnf("%v: the guest does not start before block_passwd gives the passphrase, and cont", err)
		return nil
	}
	return err
}

// wait serves until the machine is over and returns the exit status.
func (v *vm) wait(ctx context.Context) (code int, err error) {
	select {
	case <-ctx.Done():
		v.machine.Run.RequestShutdown(causeOf(ctx))
		return v.status(<-v.machine.Ended())
	case cause := <-v.machine.Ended():
		return v.status(cause)
	}
}

// status is the exit status for why the machine ended.
func (v *vm) status(cause runstate.Cause) (code int, err error) {
	if code, ok := v.machine.Run.ExitCode(); ok {
		return code, nil
	}
	if cause == runstate.CauseHostError {
		return 1, errors.New("the machine ended because of the error above")
	}
	return 0, nil
}

// close ends everything in the reverse order of its making. The jobs go first, as
// clients are told; then the monitors, once they have sent what clients are still
// to hear: after them nobody asks anything of the machine.
func (v *vm) close() {
	defer v.endBy(endTime)()
	_ = v.notifier.send("STOPPING=1")                // who does not hear it sees the end
	_ = v.lane.Do(context.Background(), v.closeJobs) // fails only where the lane has ended
	if v.monitor != nil {
		v.closeMonitors()
	}
	v.closeExports()
	if v.machine != nil {
		_ = v.lane.Do(context.Background(), v.machine.Close)
	}
	for i := len(v.undo) - 1; i >= 0; i-- {
		v.undo[i]()
	}
	v.lane.Close()
	<-v.lane.Done()
}

// abandon puts back what outlives the process, and waits for nothing.
func (v *vm) abandon() {
	v.chardevs.Abandon()
	v.pidFile.remove()
	said := make(chan struct{})
	go func() {
		defer close(said)
		fmt.Fprintf(os.Stderr, "%s: something did not end in %v: leaving it\n", program(), endTime)
	}()
	select {
	case <-said:
	case <-time.After(time.Second): // what hangs may be who reads this
	}
	os.Exit(1)
}
