package cli

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// In what follows % is a folder.

// badChardevs are mistakes about character devices that govmd reports as QEMU does.
var badChardevs = []string{
	"-chardev null",
	"-chardev id=c",
	"-chardev bogus,id=c",
	"-chardev null,id=c,foo=x",
	"-chardev file,id=c",
	"-chardev file,id=c,path=",
	"-chardev file,id=c,path=%/none/x",
	"-chardev pipe,id=c",
	"-chardev pipe,id=c,path=%/none",
	"-chardev serial,id=c",
	"-chardev serial,id=c,path=%/none",
	"-chardev ringbuf,id=c,size=1000",
	"-chardev mux,id=c",
	"-chardev mux,id=c,chardev=x",
	"-chardev stdio,id=c,signal=maybe",
	"-chardev stdio,id=c -chardev stdio,id=d",
	"-chardev socket,id=c,host=a",
	"-chardev socket,id=c,path=%/none",
	"-chardev socket,id=c,path=%/none/x,server=on,wait=off",
	"-chardev socket,id=c,path=/x,host=y,port=1",
	"-chardev socket,id=c,path=/x,reconnect=1,server=on",
	"-chardev socket,id=c,path=/x,wait=on",
	"-chardev socket,id=c,path=/x,delay=on,nodelay=on",
	"-chardev socket,id=c,host=127.0.0.1,port=1",
	"-chardev socket,id=c,host=127.0.0.1,port=xx",
	"-chardev socket,id=c,fd=77",
	"-chardev socket,id=c,fd=xx",
	"-chardev socket,id=c,host=127.0.0.1,port=0,server=on,wait=off,tls-creds=x",
	"-chardev socket,id=c,host=127.0.0.1,port=0,server=on,wait=off,tls-authz=x",
	"-chardev socket,id=c,host=127.0.0.1,port=0,server=on,wait=off,ipv4=off,ipv6=off",
	"-chardev socket,id=c,host=127.0.0.1,port=0,server=on,wait=off,to=x",
	"-chardev socket,id=c,host=192.0.2.1,port=9999,server=on,wait=off",
	"-chardev socket,id=c,path=x,server=on,wait=off,seqpacket=on",
	"-chardev udp,id=c",
	"-chardev udp,id=c,port=xx",
	"-chardev null,id=c,logfile=%/none/x",
	"-serial /dev/nonexistent",
	"-serial unix:%/none",
	"-serial tcp::xx",
	"-serial tcp:127.0.0.1:1",
	"-serial pipe:%/none",
	"-qmp unix:%/none",
	"-add-fd set=1",
	"-add-fd fd=1,set=1",
	"-add-fd fd=99,set=1",
	"-add-fd fd=9",
	"-add-fd fd=x,set=1",
}

// goodChardevs are forms that both take, without a word.
var goodChardevs = []string{
	"-chardev null,id=c,mux=on,logfile=%/log1,logappend=on",
	"-chardev memory,id=c,size=64k",
	"-chardev file,id=c,path=%/out,append=on",
	"-chardev socket,id=c,path=%/s1,server=on,wait=off",
	"-chardev socket,id=c,path=%/s2,server,nowait",
	"-chardev socket,id=c,path=a%,abstract=on,tight=off,server=on,wait=off",
	"-chardev socket,id=c,host=localhost,port=0,server=on,wait=off,ipv4=on,telnet=on,nodelay=on",
	"-chardev socket,id=c,path=%/none,reconnect=60",
	"-chardev udp,id=c,host=127.0.0.1,port=99,localaddr=127.0.0.1,localport=0",
	"-qmp tcp:127.0.0.1:0,server=on,wait=off",
	"-qmp telnet:127.0.0.1:0,server,nowait",
	"-qmp udp::99@:0",
	"-qmp null",
	"-qmp file:%/out",
	"-echr 0x14",
}

// complaint is what a program says about its options, its name aside.
func complaint(t *testing.T, program, dir, form string) string {
	t.Helper()
	// A monitor that ends the program once it has started.
	args := strings.Fields("-M none -S -nodefaults -display none " + strings.ReplaceAll(form, "%", dir) + " -qmp stdio")
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = strings.NewReader(`{"execute": "qmp_capabilities"}{"execute": "quit"}`)
	var said strings.Builder
	cmd.Stderr = &said
	err := cmd.Run()
	text := strings.ReplaceAll(said.String(), filepath.Base(program)+": ", "")
	text = strings.ReplaceAll(text, dir, "%")
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		// That a client which tries again has not connected yet is no mistake,
		// and that -serial fails is said twice by QEMU.
		skip := false
		for _, word := range []string{"warning: ", "Please use ", "Unable to connect character device", "could not connect serial device"} {
			skip = skip || strings.Contains(l, word)
		}
		if !skip {
			lines = append(lines, l)
		}
	}
	if err == nil {
		lines = append(lines, "(runs)")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// What is wrong with the description of a character device is said as QEMU says it,
// and what is right with QEMU is here.
func TestChardevTexts(t *testing.T) {
	qemu := findQEMU(t)
	for i, form := range append(badChardevs, goodChardevs...) {
		got, want := complaint(t, program, t.TempDir(), form), complaint(t, qemu, t.TempDir(), form)
		if i >= len(badChardevs) {
			want = "(runs)"
		}
		if got != want {
			t.Errorf("%s\n%s\nfrom QEMU\n%s", form, got, want)
		}
	}
}
