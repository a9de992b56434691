package boot

import "encoding/json"

// keyboard types what the guest reads as events of its keyboard.
func (d *devices) keyboard() {
	d.t.Helper()
	d.sh(`exec 3</dev/input/$(sed -n '/AT Translated/,/^$/s/.*\(event[0-9]*\).*/\1/p' /proc/bus/input/devices)`)
	d.Execute("send-key", map[string]any{"keys": []map[string]string{
		{"type": "qcode", "data": "ctrl"}, {"type": "qcode", "data": "a"},
	}}, nil)
	// An event has 24 bytes, and a key makes three of them: scan code, key, end.
	d.what(`dd bs=24 count=12 <&3 2>/dev/null | hexdump -v -e '12/2 "%u " "\n"' | awk '$9 == 1 { printf "%s:%s ", $10, $11 }'`,
		"29:1 30:1 30:0 29:0")
	d.sh("exec 3<&-")
}

// watchdog feeds the watchdog, and then no more.
func (d *devices) watchdog() {
	d.t.Helper()
	d.sh("watchdog -T 2 -t 1 /dev/watchdog")
	d.what("sleep 3; echo awake", "awake")
	equal(d.t, "status while the watchdog is fed", d.Status(), "running")
	d.sh("killall -9 watchdog")
	var bites struct{ Action string }
	if err := json.Unmarshal(d.ExpectEvent("WATCHDOG").Data, &bites); err != nil {
		d.t.Error(err)
	}
	equal(d.t, "what the watchdog does", bites.Action, "pause")
	d.ExpectEvent("STOP")
	equal(d.t, "status", d.Status(), "watchdog")
	d.Execute("cont", nil, nil)
	d.what("echo awake", "awake")
}
