package monitor

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// request is one thing that a client has sent: a command, or something malformed.
type request struct {
	s    *Session
	ctx  qmp.Context
	doc  *qjson.Doc // holds args and id; nil when malformed
	size int        // of doc, in bytes, while the request is in the queue
	cmd  *qmp.Command
	args qmp.Value
	id   qmp.Value
	oob  bool
	err  error // why it will not be carried out, or nil
	fds  []int // came with it; guarded by s.mu

	state atomic.Int32 // of an asynchronous command
	// The result of an asynchronous command that answered at once.
	result    []byte
	resultErr error
}

// States of an asynchronous command.
const (
	running  int32 = iota // its function has not returned
	answered              // before its function returned
	pending               // its function has returned: the answer comes later
)

// SessionID implements qmp.Session.
func (r *request) SessionID() uint64 { return r.s.id }

// TakeFD implements qmp.Session: the descriptors that came with the request go
// first, then those that earlier requests left.
func (r *request) TakeFD() (fd int, ok bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	from := &r.fds
	if len(*from) == 0 {
		from = &r.s.leftFDs
	}
	if len(*from) == 0 {
		return -1, false
	}
	fd = (*from)[0]
	*from = (*from)[1:]
	return fd, true
}

// fail makes the request one that is only answered with err.
func (r *request) fail(err error) { r.err = err }

// immediate reports whether the request needs not go to the control lane.
func (r *request) immediate() bool { return r.err != nil || r.cmd.NoLane() }

// read checks the form of a request and finds its command.
func (r *request) read(doc *qjson.Doc, negotiated, oobEnabled bool) {
	r.doc = doc
	root := doc.Root()
	if root.Kind() != qjson.Object {
		r.fail(qmp.Errorf("QMP input must be a JSON object"))
		return
	}
	r.id = root.Get("id")
	name, err := r.members(root, oobEnabled)
	if err != nil {
		r.fail(err)
		return
	}
	if !negotiated && string(name.Bytes()) != "qmp_capabilities" {
		r.fail(errNegotiating)
		return
	}
	r.cmd = r.ctx.Registry.LookupBytes(name.Bytes())
	ready := r.s.m.cfg.Ready
	switch {
	case r.cmd == nil:
		r.fail(qmp.CommandNotFound(name.Text()))
	case r.oob && !r.cmd.OOB():
		r.fail(qmp.Errorf("The command %s does not support OOB", r.cmd.Name()))
	case !r.cmd.Preconfig() && ready != nil && !ready():
		r.fail(qmp.Errorf("The command '%s' is permitted only after machine initialization has completed", r.cmd.Name()))
	}
}

// members checks the members of a request and returns the command's name. What
// is wrong with a member that is known comes before one that is not.
func (r *request) members(root qmp.Value, oobEnabled bool) (name qmp.Value, err error) {
	var unknown error
	for m := root.First(); m.Exists(); m = m.Next() {
		key := string(m.Key())
		switch {
		case key == "execute", key == "exec-oob" && oobEnabled:
			if m.Kind() != qjson.String {
				return name, qmp.Errorf("QMP input member '%s' must be a string", key)
			}
			if name.Exists() {
				return name, qmp.Errorf("QMP input member '%s' clashes with '%s'", "execute", "exec-oob")
			}
			name = m
			r.oob = key == "exec-oob"
		case key == "arguments":
			if m.Kind() != qjson.Object {
				return name, qmp.Errorf("QMP input member 'arguments' must be an object")
			}
			r.args = m
		case key == "id":
		default:
			if unknown == nil {
				unknown = qmp.Errorf("QMP input member '%s' is unexpected", key)
			}
		}
	}
	switch {
	case unknown != nil:
		return name, unknown
	case !name.Exists():
		return name, qmp.Errorf("QMP input lacks member 'execute'")
	}
	return name, nil
}

// carryOut runs the command and appends the response to buf, unless the answer
// comes later: then it reports false, and later is called with it.
func (r *request) carryOut(buf []byte, later func(*request, []byte, error)) ([]byte, bool) {
	switch {
	case r.err != nil:
		return r.appendError(buf, r.err), true
	case r.cmd.Async():
		r.cmd.Start(&r.ctx, r.args, qmp.JSON, func(result []byte, err error) {
			r.result, r.resultErr = result, err
			if !r.state.CompareAndSwap(running, answered) {
				later(r, result, err)
			}
		})
		if r.state.CompareAndSwap(running, pending) {
			return buf, false
		}
		return r.appendResult(buf, r.result, r.resultErr), true
	}
	start := len(buf)
	buf = append(buf, `{"return": `...)
	buf, err := r.cmd.Call(&r.ctx, r.args, qmp.JSON, buf)
	if err != nil {
		return r.appendError(buf[:start], err), true
	}
	return r.appendEnd(buf), true
}

func (r *request) appendResult(buf, result []byte, err error) []byte {
	if err != nil {
		return r.appendError(buf, err)
	}
	buf = append(buf, `{"return": `...)
	buf = append(buf, result...)
	return r.appendEnd(buf)
}

func (r *request) appendEnd(buf []byte) []byte {
	if r.id.Exists() {
		buf = append(buf, `, "id": `...)
		buf = r.id.Append(buf)
	}
	return append(buf, '}')
}

// appendError appends the response to a request that failed. The id comes first
// here, as it does from QEMU.
func (r *request) appendError(buf []byte, err error) []byte {
	e := qmp.AsError(err)
	buf = append(buf, '{')
	if r.id.Exists() {
		buf = append(buf, `"id": `...)
		buf = r.id.Append(buf)
		buf = append(buf, ", "...)
	}
	buf = append(buf, `"error": {"class": `...)
	buf = qjson.AppendString(buf, string(e.Class))
	buf = append(buf, `, "desc": `...)
	buf = qjson.AppendString(buf, e.Desc)
	return append(buf, "}}"...)
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
