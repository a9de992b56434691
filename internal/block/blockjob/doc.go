// Package blockjob is what all jobs on images have in common: a job of the engine
// in internal/job that holds nodes, is limited in speed, pauses while its nodes are
// drained, and does about I/O errors what its client wants.
//
// A kind of block job is a type that embeds Base and implements the rest of
// job.Driver (Type and Run) with as many of job's optional interfaces as it needs:
//
//	type work struct {
//		blockjob.Base
//		src, dst *block.Child
//	}
//
//	func start(m *blockjob.Manager, n *block.Node, o blockjob.Options) (err error) {
//		w := new(work)
//		if err := m.New(w, n, o); err != nil { // "main node" is held from here on
//			return err
//		}
//		if w.dst, err = w.Hold("target", target, block.PermWrite, block.PermAll); err != nil {
//			w.Discard() // of the job, and of all that it holds
//			return err
//		}
//		w.Job().Start()
//		return nil
//	}
//
//	func (w *work) Run(_ context.Context, j *job.Job) error {
//		j.SetRemaining(uint64(length))
//		c := &copy.Copy{Source: w.src, Target: w.dst}
//		pieces := w.NewWork(sourcePolicy, targetPolicy, c.Do)
//		defer pieces.Close()
//		if err := pieces.Copy(c, 0, length); err != nil { // speed, pause, drain, errors
//			return err
//		}
//		return w.Outcome() // what was ignored
//	}
//
// A Work has several pieces under way. What finds them itself hands them to Go, or to
// Skip what needs no copying, and waits for the last in Settle. Jobs that do one thing
// after the other call Yield and OnError in their place, with none of their requests
// under way: a drain waits for the worker to come there. All these are the worker's;
// New, Hold, Discard and what the engine calls run on the lane.
//
// Nodes that a job holds refuse operations that would harm it ("block device is in
// use by block job: stream"), until Clean, which a driver with a Clean of its own
// calls first. Where all jobs are let go by the end of the program is Manager.Close.
//
// A job that a transaction makes is a control.JobAction.
package blockjob
