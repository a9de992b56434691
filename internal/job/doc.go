// Package job runs long operations that clients follow and steer: copies of
// disks, snapshots, images being made. It has no storage in it: what a job does
// is its Driver, and what a kind of job tells clients beside JOB_STATUS_CHANGE
// are its Hooks.
//
// # Threads
//
// A job's driver runs on a goroutine of its own, the worker. Everything else
// happens on the control lane: jobs are made, steered, finished and forgotten
// there, and their status changes there. The worker never waits for the lane: it
// queues its steps (status changes, its end) and goes on, so the lane may wait
// for a worker to be idle or gone.
//
// # Life
//
//	created ─ running ⇄ paused        the worker is at work, or waits
//	             │
//	           ready ⇄ standby        it goes on until it is told to complete
//	             │
//	          waiting                 for the other jobs of its transaction
//	             │
//	          pending                 for finalize, unless that is automatic
//	             │
//	         concluded                for dismiss, unless that is automatic
//	             │
//	           null
//
// What fails or is cancelled goes through aborting to concluded.
package job
