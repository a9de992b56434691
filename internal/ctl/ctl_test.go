package ctl

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smallSchema has one of everything.
const smallSchema = `"return": [
{"name": "query-status", "meta-type": "command", "arg-type": "0", "ret-type": "0"},
{"name": "try", "meta-type": "command", "arg-type": "1", "ret-type": "[int]"},
{"name": "POWERDOWN", "meta-type": "event", "arg-type": "0"},
{"name": "0", "meta-type": "object", "members": []},
{"name": "1", "meta-type": "object", "members": [
 {"name": "id", "type": "str"}, {"name": "count", "type": "int", "default": null}, {"name": "share", "type": "number", "default": null},
 {"name": "force", "type": "bool", "default": null}, {"name": "mode", "type": "2", "default": null},
 {"name": "list", "type": "[int]", "default": null}, {"name": "value", "type": "any", "default": null},
 {"name": "ref", "type": "3", "default": null}, {"name": "back", "type": "4", "default": null},
 {"name": "none", "type": "null", "default": null}, {"name": "many", "type": "[4]", "default": null}]},
{"name": "2", "meta-type": "enum", "values": ["quick", "slow"], "members": [{"name": "quick"}, {"name": "slow"}]},
{"name": "3", "meta-type": "alternate", "members": [{"type": "str"}, {"type": "int"}, {"type": "4"}, {"type": "null"}]},
{"name": "4", "meta-type": "object", "tag": "type", "members": [{"name": "type", "type": "5"}],
 "variants": [{"case": "file", "type": "6"}, {"case": "none", "type": "0"}]},
{"name": "5", "meta-type": "enum", "members": [{"name": "file"}, {"name": "none"}]},
{"name": "6", "meta-type": "object", "members": [{"name": "path", "type": "str"}, {"name": "append", "type": "bool", "default": null}]},
{"name": "[int]", "meta-type": "array", "element-type": "int"},
{"name": "[4]", "meta-type": "array", "element-type": "4"},
{"name": "str", "meta-type": "builtin", "json-type": "string"},
{"name": "int", "meta-type": "builtin", "json-type": "int"},
{"name": "number", "meta-type": "builtin", "json-type": "number"},
{"name": "bool", "meta-type": "builtin", "json-type": "boolean"},
{"name": "null", "meta-type": "builtin", "json-type": "null"},
{"name": "any", "meta-type": "builtin", "json-type": "value"}]`

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "") }

// What is given as text arrives as what the schema says.
func TestArguments(t *testing.T) {
	for _, c := range []struct{ args, sent, says string }{
		{"id=7", `{"id": "7"}`, ""},
		{"id=", `{"id": ""}`, ""},
		{"id=a=b,c", `{"id": "a=b,c"}`, ""},
		{"count=7 force=on", `{"count": 7, "force": true}`, ""},
		{"count=-7", `{"count": -7}`, ""},
		{"count=0x10", `{"count": 16}`, ""},
		{"count=4k", `{"count": 4096}`, ""},
		{"count=18446744073709551615", `{"count": 18446744073709551615}`, ""},
		{"count=x", "", "try: 'count' does not take 'x': it is an int"},
		{"share=1.5", `{"share": 1.5}`, ""},
		{"share=a", "", "'share' does not take 'a': it is a number"},
		{"force=false", `{"force": false}`, ""},
		{"force=1", `{"force": true}`, ""},
		{"force=maybe", "", "'force' does not take 'maybe': it is an on|off"},
		{"mode=slow", `{"mode": "slow"}`, ""},
		{"mode=slwo", "", "'mode' does not take 'slwo': it is one of quick, slow; did you mean 'slow'?"},
		{"list.0=1 list.1=2", `{"list": [1, 2]}`, ""},
		{"list.1=1 list.0=2", `{"list": [2, 1]}`, ""},
		{"list.1=1", "", "'list' is a list: its elements are list.0=, list.1= and so on"},
		{"list=[1,2]", `{"list": [1, 2]}`, ""},
		{"list=1", "", "'list' does not take '1': it is a list of int"},
		{"value=1", `{"value": 1}`, ""},
		{"value=on", `{"value": "on"}`, ""},
		{`value={"a":[null]}`, `{"value": {"a": [null]}}`, ""},
		{"value.a=1 value.b.0=x", `{"value": {"a": "1", "b": ["x"]}}`, ""},
		{"ref=7", `{"ref": 7}`, ""},
		{"ref=x", `{"ref": "x"}`, ""},
		{"ref=null", `{"ref": null}`, ""},
		{`ref:="null"`, `{"ref": "null"}`, ""},
		{"ref.type=file ref.append=on", `{"ref": {"type": "file", "append": true}}`, ""},
		{"back.append=on back.path=1 back.type=file", `{"back": {"append": true, "path": "1", "type": "file"}}`, ""},
		{"back.type=none back.append=on", `{"back": {"type": "none", "append": "on"}}`, ""}, // for the machine to judge
		{"back.type=flie", "", "'back.type' does not take 'flie': it is one of file, none; did you mean 'file'?"},
		{`back={"type":"file","path":"x"}`, `{"back": {"type": "file", "path": "x"}}`, ""},
		{"back=file", "", "'back' does not take 'file': it is an object"},
		{"many.0.type=file many.0.append=off many.1.type=none", `{"many": [{"type": "file", "append": false}, {"type": "none"}]}`, ""},
		{"none=null", `{"none": null}`, ""},
		{"none=0", "", "'none' does not take '0'"},
		{"other=1", `{"other": "1"}`, ""},
		{"other:=1", `{"other": 1}`, ""},
		{"other:={", "", "'other' is no JSON"},
		{`{"id":"x","count":1}`, `{"id": "x", "count": 1}`, ""},
		{`{"id"`, "", "'arguments' is no JSON"},
		{"id", "", "expected key=value, not 'id'"},
		{"=1", "", "'' is no key"},
		{"a..b=1", "", "'a..b' is no key: a part of it is empty"},
		{"id=1 id=2", "", "'id' is given twice"},
		{"id=1 id.a=2", "", "'id.a' is given as a value and as an object"},
		{"id.a=1 id=2", "", "'id' is given twice"},
	} {
		var heard []string
		path := script(t, map[string]string{"query-qmp-schema": oneLine(smallSchema), "try": `"return": []`}, &heard)
		got := runCtl(t, append([]string{path, "try"}, strings.Fields(c.args)...)...)
		sent := ""
		if n := len(heard); n > 0 && strings.HasPrefix(heard[n-1], "try ") {
			sent = strings.TrimPrefix(heard[n-1], "try ")
		}
		status := 0
		if c.says != "" {
			status = int(Usage)
		}
		if sent != c.sent || got.status != status || !strings.Contains(got.stderr, c.says) || (got.stderr != "") != (c.says != "") {
			t.Errorf("%s: sent %s, status %d, %s", c.args, sent, got.status, got.stderr)
		}
	}
}

// Where there is no schema, all is text.
func TestNoSchema(t *testing.T) {
	var heard []string
	path := script(t, map[string]string{"try": `"return": {}`}, &heard)
	if got := runCtl(t, path, "try", "a=1", "b:=2", "l.0=x"); got != (result{0, "", ""}) {
		t.Errorf("%+v", got)
	}
	if want := `try {"a": "1", "b": 2, "l": ["x"]}`; heard[len(heard)-1] != want {
		t.Errorf("sent %s, want %s", heard[len(heard)-1], want)
	}
}

func TestVerbs(t *testing.T) {
	answers := map[string]string{
		"query-qmp-schema": oneLine(smallSchema),
		"query-status":     `"return": {"status": "paused", "running": false}`,
		"stop":             `"return": {}`,
		"try":              `"return": [1, 2]`,
		"text":             `"return": "a\u001b[31m\r\nb\tc"`,
		"nested":           `"return": [{"a": 1, "b": {"c": [], "d": "x"}, "e": [true, null]}, {"a": 2}]`,
		"broken":           `"error": {"class": "DeviceNotFound", "desc": "Device\nx not found"}`,
		"quit!":            `"return": {}`,
		"system_reset":     `"return": {}` + "\n" + `{"event": "RESET", "data": {"guest": false, "reason": "r"}, "timestamp": {"seconds": 1, "microseconds": 2}}` + "\n",
	}
	path := script(t, answers, nil)
	for _, c := range []struct {
		args   string
		want   result
		inPart bool
	}{
		{"status", result{6, "paused\n", ""}, false},
		{"--json status", result{6, `{"status": "paused", "running": false}` + "\n", ""}, false},
		{"stop", result{0, "", ""}, false},
		{"stop --json", result{0, "{}\n", ""}, false},
		{"reset", result{0, "", ""}, false},
		{"quit", result{0, "", ""}, false},
		{"try", result{0, "- 1\n- 2\n", ""}, false},
		{"--json try", result{0, "[1, 2]\n", ""}, false},
		{"text", result{0, "a\\x1b[31m\nb\tc\n", ""}, false},
		{"nested", result{0, "- a: 1\n  b:\n    c: []\n    d: x\n  e:\n    - true\n    - null\n- a: 2\n", ""}, false},
		{"broken", result{1, "", "govmctl: Device\\nx not found\n"}, false},
		{"tyr", result{1, "", "govmctl: The command tyr has not been found; did you mean 'try'?\n"}, false},
		{"staus", result{1, "", "govmctl: The command staus has not been found; did you mean 'status'?\n"}, false},
		{"help", result{0, "query-status\ntry\n", ""}, false},
		{"help try", result{0, "try\n  id=string\n  count=int (optional)\n  share=number (optional)\n  force=on|off (optional)\n  mode=quick|slow (optional)\n", ""}, true},
		{"help tyr", result{1, "", "govmctl: there is no command 'tyr'; did you mean 'try'?\n"}, false},
		{"events NONE", result{2, "", "govmctl: there is no event 'NONE'\n"}, false},
		{"status x", result{2, "", "govmctl: status takes no argument 'x'\n"}, false},
		{"status --wait 1", result{2, "", "govmctl: --wait does not go with status\n"}, false},
		{"try --follow", result{2, "", "govmctl: --follow does not go with try\n"}, false},
		{"powerdown --force", result{2, "", "govmctl: --force comes after a time: it goes with --wait\n"}, false},
		{"powerdown --wait", result{2, "", "govmctl: --wait requires an argument: SECONDS\n"}, false},
		{"powerdown --wait=x", result{2, "", "govmctl: 'x' is no number of seconds\n"}, false},
		{"--json=1 status", result{2, "", "govmctl: --json takes no value\n"}, false},
		{"--frob status", result{2, "", "govmctl: unknown option '--frob'; --help lists those that there are\n"}, false},
		{"console", result{1, "", "govmctl: The command query-chardev has not been found\n"}, false},
		{"console --escape ab", result{2, "", "govmctl: 'ab' is no key"}, true},
	} {
		got := runCtl(t, append([]string{path}, strings.Fields(c.args)...)...)
		same := got == c.want
		if c.inPart {
			same = got.status == c.want.status && strings.HasPrefix(got.stdout, c.want.stdout) && strings.HasPrefix(got.stderr, c.want.stderr)
		}
		if !same {
			t.Errorf("%s: %+v, want %+v", c.args, got, c.want)
		}
	}
}

// A power-down waits for the end of the machine, or of the guest where the
// machine stays; one that is forced ends what does not end.
func TestPowerdown(t *testing.T) {
	const off = `"return": {}` + "\n" + `{"event": "POWERDOWN"}{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}`
	const running = `"return": {"status": "running", "running": true}`
	for _, c := range []struct {
		name, args string
		answers    map[string]string
		status     int
		heard      string
	}{
		{"no wait", "", map[string]string{"system_powerdown": `"return": {}`}, 0, "system_powerdown"},
		{"ends", "--wait 9", map[string]string{"system_powerdown!": off}, 0, "system_powerdown"},
		{"stays", "--wait 9", map[string]string{"system_powerdown": off + `{"event": "STOP"}`}, 0, "system_powerdown"},
		{"ignored", "--wait 0.01", map[string]string{"system_powerdown": `"return": {}`}, 4, "system_powerdown"},
		{"not the end of it", "--wait 0.01", map[string]string{"system_powerdown": `"return": {}` + "\n" + `{"event": "STOP"}`}, 4, "system_powerdown"},
		{"forced", "--wait 0.01 --force", map[string]string{"query-status": running, "system_powerdown": `"return": {}`, "quit!": `"return": {}`},
			0, "query-status system_powerdown quit"},
		{"forced at once", "--wait 9 --force", map[string]string{"query-status": `"return": {"status": "paused", "running": false}`, "quit!": `"return": {}`},
			0, "query-status quit"},
		{"asleep", "--wait 9 --force", map[string]string{"query-status": `"return": {"status": "suspended", "running": false}`, "system_powerdown!": off},
			0, "query-status system_powerdown"},
		{"refused", "--wait 9", map[string]string{}, 1, "system_powerdown"},
	} {
		var heard []string
		path := script(t, c.answers, &heard)
		got := runCtl(t, append([]string{path, "powerdown"}, strings.Fields(c.args)...)...)
		if got.status != c.status || strings.Join(heard, " ") != c.heard {
			t.Errorf("%s: %+v, heard %q", c.name, got, heard)
		}
	}
}

func TestEvents(t *testing.T) {
	const three = `{"event": "A", "data": {"x": {"y": [1, "b\u001b"]}}, "timestamp": {"seconds": 0, "microseconds": 1}}` +
		`{"event": "B"}{"event": "POWERDOWN", "data": {}}`
	path := serve(t, func(f *fake) {
		if !f.negotiate() {
			return
		}
		f.say(three)
		if r, ok := f.hear(); ok { // of those who ask for the schema
			f.answer(r, oneLine(smallSchema))
			f.say(three)
		}
	})
	// The server closes after its conversation, which for some begins with a request.
	for _, c := range []struct {
		args, want string
		status     int
	}{
		{"events", "A x.y.0=1 x.y.1=b\\x1b\n", 0},
		{"--json events", `{"event": "A", "data": {"x": {"y": [1, "b\u001B"]}}, "timestamp": {"seconds": 0, "microseconds": 1}}` + "\n", 0},
		{"events POWERDOWN", "POWERDOWN\n", 0},
		{"events --follow POWERDOWN", "POWERDOWN\nPOWERDOWN\n", 0},
	} {
		if got := runCtl(t, append([]string{path}, strings.Fields(c.args)...)...); got.stdout != c.want || got.status != c.status {
			t.Errorf("%s: %+v, want %q", c.args, got, c.want)
		}
	}
	ends := serve(t, func(f *fake) { f.negotiate() })
	if got := runCtl(t, ends, "events"); got.status != int(Broken) {
		t.Errorf("no event: %+v", got)
	}
	if got := runCtl(t, ends, "events", "--follow"); got.status != 0 {
		t.Errorf("the end: %+v", got)
	}
}

// A monitor that does not do as it should is found out, in bounded time.
func TestBadMonitors(t *testing.T) {
	for _, c := range []struct {
		name   string
		talk   func(*fake)
		status Kind
		says   string
	}{
		{"silent", func(f *fake) { f.hold() }, TimedOut, "no greeting in time"},
		{"gone at once", func(*fake) {}, Broken, "the connection ended"},
		{"no QMP", func(f *fake) { f.say("220 smtp\r\n"); f.hold() }, Broken, "no QMP"},
		{"another greeting", func(f *fake) { f.say("{\"hello\": 1}\n"); f.hold() }, Broken, "no QMP monitor"},
		{"a list", func(f *fake) { f.say("[1]\n"); f.hold() }, Broken, "no QMP message"},
		{"control characters", func(f *fake) { f.say("[\"\\u001b[2J\"]\n"); f.hold() }, Broken, "no QMP message"},
		{"half a greeting", func(f *fake) { f.say(greeting[:30]) }, Broken, "the connection ended"},
		{"no answer", func(f *fake) { f.say(greeting); f.hold() }, TimedOut, "no answer in time"},
		{"events for an answer", func(f *fake) {
			f.say(greeting)
			for {
				if _, err := f.conn.Write([]byte(`{"event": "X"}`)); err != nil {
					return
				}
			}
		}, TimedOut, "no answer in time"},
		{"an event without a name", func(f *fake) { f.say(greeting + `{"event": 1}`); f.hold() }, Broken, "no event"},
		{"another's answer", func(f *fake) { f.say(greeting + `{"return": {}, "id": 99}`); f.hold() }, Broken, "no answer"},
		{"deep", func(f *fake) { f.say(greeting + strings.Repeat("[", 5000)); f.hold() }, Broken, "no QMP"},
		{"ends early", func(f *fake) { f.negotiate(); f.hear() }, Broken, "the connection ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := serve(t, c.talk)
			got := runCtl(t, "--timeout", "0.5", path, "status")
			if got.status != int(c.status) || !strings.Contains(got.stderr, c.says) || strings.ContainsRune(got.stderr, '\x1b') {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestNames(t *testing.T) {
	run := t.TempDir()
	t.Chdir(run)
	dir := filepath.Join(run, "govmd", "web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join("govmd", "web", "qmp"), "here"} {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	p := &program{getenv: func(string) string { return run }}
	for _, c := range []struct{ name, want string }{
		{"web", filepath.Join(dir, "qmp")}, {"here", "here"}, {"./x", "./x"}, {"/a/b", "/a/b"},
		{"other", ""}, {"..", ""}, {"", ""},
	} {
		if got, err := p.resolve(c.name); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v", c.name, got, err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	env := map[string]string{"XDG_RUNTIME_DIR": run}
	if got := runWith(null, env, "list"); !strings.Contains(got.stdout, "web\n") || got.status != 0 {
		t.Errorf("list: %+v", got)
	}
	for args, status := range map[string]Kind{"": Usage, "web": Usage, "other status": Unreachable, "/none status": Unreachable} {
		if got := runWith(null, env, strings.Fields(args)...); got.status != int(status) || got.stderr == "" || got.stdout != "" {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if got := runWith(null, env, "--help"); got.status != 0 || got.stdout != usage {
		t.Errorf("help: %+v", got)
	}
}

func TestCompletion(t *testing.T) {
	path := script(t, map[string]string{
		"query-qmp-schema": oneLine(smallSchema),
		"query-chardev":    `"return": [{"label": "con", "filename": "null"}, {"label": "a\nb", "filename": "null"}]`,
	}, nil)
	files := t.TempDir()
	for _, name := range []string{"disk", "dust"} {
		if err := os.WriteFile(filepath.Join(files, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ words, want string }{
		{"SOCKET |s", "status stop"},
		{"SOCKET |t", "try"},
		{"SOCKET |q", "quit query-status"},
		{"SOCKET try |", "id= count= share= force= mode= list.0= value= ref= back. none= many.0."},
		{"SOCKET try |ba", "back."},
		{"SOCKET try |back.", "back.type="},
		{"SOCKET try back.type=file |back.", "back.path= back.append="},
		{"SOCKET try id=1 count=2 |c", ""},
		{"SOCKET try |mode=", "mode=quick mode=slow"},
		{"SOCKET try |mode=q", "mode=quick"},
		{"SOCKET try |force=o", "force=on force=off"},
		{"SOCKET try |many.0.type=", "many.0.type=file many.0.type=none"},
		{"SOCKET try |ref.", "ref.type="},
		{"SOCKET try |id=FILES/d", "id=FILES/disk id=FILES/dust"},
		{"SOCKET nothing |", ""},
		{"SOCKET events |P", "POWERDOWN"},
		{"SOCKET help |t", "try"},
		{"SOCKET status |", ""},
		{"SOCKET powerdown |--", "--json --timeout --help --version --wait --force"},
		{"SOCKET console --chardev |", "con"},
		{"/none try |", ""},
		{"|lis", "list"},
	} {
		fill := strings.NewReplacer("SOCKET", path, "FILES", files, "|", "")
		args := append([]string{"--complete"}, strings.Split(fill.Replace(c.words), " ")...)
		got := runCtl(t, args...)
		if want := fill.Replace(c.want); strings.Join(strings.Fields(got.stdout), " ") != want || got.status != 0 || got.stderr != "" {
			t.Errorf("%s: %+v, want %s", c.words, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ä": "plain ä", "a\x1b[0m": `a\x1b[0m`, "\xff": `\xff`, "a\u009bb": `a\u009bb`, "\u202ea": `\u202ea`, "a\nb": `a\nb`,
	} {
		if got := clean(in, false); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := clean("a\n\tb\a", true); got != "a\n\tb\\a" {
		t.Errorf("%q", got)
	}
}
