package tracectl

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
	"govmd/internal/trace"
)

var (
	ctlPlain = trace.New0("control_plain", "passed")
	ctlVCPU  = trace.NewVCPU1[int]("control_vcpu", "vcpu %d value %d")
)

func call(t *testing.T, name, args string) string {
	t.Helper()
	c := Control{VCPUs: func() int { return 2 }}
	doc, err := qjson.Parse([]byte(args))
	if err != nil {
		t.Fatal(err)
	}
	reg := qmp.NewRegistry()
	reg.Add(c.Commands()...)
	out, err := reg.Lookup(name).Call(&qmp.Context{Context: context.Background(), Registry: reg}, doc.Root(), qmp.JSON, nil)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// The answers are those of QEMU 7.2 for a point of its own of either kind.
func TestCommands(t *testing.T) {
	defer trace.Enable("-control_*")
	const get, set = "trace-event-get-state", "trace-event-set-state"
	plain := func(state string) string { return `{"name": "control_plain", "state": "` + state + `", "vcpu": false}` }
	vcpu := func(state string) string { return `{"name": "control_vcpu", "state": "` + state + `", "vcpu": true}` }
	for _, s := range []struct{ command, args, want string }{
		{get, `{"name": "control_plain"}`, "[" + plain("disabled") + "]"},
		{get, `{"name": "nope"}`, `unknown event "nope"`},
		{get, `{"name": ""}`, `unknown event ""`},
		{get, `{"name": "nope*"}`, `[]`},
		{get, `{"name": "control_plain", "vcpu": 0}`, `event "control_plain" is not vCPU-specific`},
		{get, `{"name": "control_vcpu", "vcpu": 2}`, `invalid vCPU index 2`},
		{get, `{"name": "control_vcpu", "vcpu": -1}`, `invalid vCPU index -1`},
		{set, `{"name": "nope", "enable": true, "ignore-unavailable": true}`, `unknown event "nope"`},
		{set, `{"name": "nope*", "enable": true}`, `{}`},
		{set, `{"name": "control_plain", "enable": true, "vcpu": 1}`, `event "control_plain" is not vCPU-specific`},
		{set, `{"name": "control_*", "enable": true, "vcpu": 1}`, `{}`},
		{get, `{"name": "control_*"}`, "[" + plain("disabled") + ", " + vcpu("enabled") + "]"},
		{get, `{"name": "control_*", "vcpu": 0}`, "[" + vcpu("disabled") + "]"},
		{get, `{"name": "control_*", "vcpu": 1}`, "[" + vcpu("enabled") + "]"},
		{set, `{"name": "control_*", "enable": true}`, `{}`},
		{get, `{"name": "control_*"}`, "[" + plain("enabled") + ", " + vcpu("enabled") + "]"},
		{set, `{"name": "control_*", "enable": "true"}`, `Invalid parameter type for 'enable', expected: boolean`},
	} {
		if got := call(t, s.command, s.args); got != s.want {
			t.Errorf("%s %s: %s, want %s", s.command, s.args, got, s.want)
		}
	}
	if !ctlPlain.On() || !ctlVCPU.OnVCPU(0) {
		t.Error("what was enabled is not on")
	}
}

func TestHumanCommands(t *testing.T) {
	defer trace.Enable("-control_*")
	c := Control{VCPUs: func() int { return 1 }}
	cmd, info := c.HumanCommands()[0], c.InfoCommands()[0]
	run := func(cmd qmp.HumanCommand, args qmp.HumanArgs) string {
		var b bytes.Buffer
		if err := cmd.Run(&qmp.Context{Context: context.Background()}, args, &b); err != nil {
			return err.Error()
		}
		return b.String()
	}
	for _, s := range []struct {
		cmd  qmp.HumanCommand
		args qmp.HumanArgs
		want string
	}{
		{info, qmp.HumanArgs{"name": "control_*"}, "control_plain : state 0\ncontrol_vcpu : state 0\n"},
		{cmd, qmp.HumanArgs{"name": "control_plain", "option": true}, ""},
		{cmd, qmp.HumanArgs{"name": "control_vcpu", "option": true, "vcpu": int64(0)}, ""},
		{cmd, qmp.HumanArgs{"name": "control_plain", "option": true, "vcpu": int64(0)}, `event "control_plain" is not vCPU-specific`},
		{info, qmp.HumanArgs{"name": "control_*"}, "control_plain : state 1\ncontrol_vcpu : state 1\n"},
		{info, qmp.HumanArgs{"name": "nope"}, `unknown event "nope"`},
	} {
		if got := run(s.cmd, s.args); got != s.want {
			t.Errorf("%s %v: %q, want %q", s.cmd.Name, s.args, got, s.want)
		}
	}
	if all := run(info, nil); !strings.Contains(all, "control_plain") {
		t.Error("all:", all)
	}
	if got := strings.Join(cmd.Complete(nil, []string{"trace-event", "control_p"}), " "); got != "control_plain" {
		t.Error("completion:", got)
	}
	if got := strings.Join(cmd.Complete(nil, []string{"trace-event", "control_p", ""}), " "); got != "on off" {
		t.Error("completion:", got)
	}
}
