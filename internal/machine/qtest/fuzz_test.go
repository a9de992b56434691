package qtest

import (
	"bytes"
	"strings"
	"testing"
)

// talk is a connection whose peer has said all it will and reads everything.
type talk struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *talk) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *talk) Write(p []byte) (int, error) { return c.out.Write(p) }

// FuzzServer says anything to the server. Each request gets one reply of one
// line, whatever it is.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{
		"inb 0x20\noutl 0x40 5\n\n  \ninw 99999\n",
		"readq 0x0\nwritew 4 5\nread 0xfec00000 0x20\nwrite 0xfffffffffffffff0 0x100 0x0102\n",
		"b64write 0x100 3 aGkh\nb64read 0x100 3\nmemset 0x200 0x40 0xff\n",
		"clock_step\nclock_step 100000\nclock_set 0x100000\nendianness\n",
		"irq_intercept_in ioapic\nirq_intercept_out pit\nset_irq_in i8259 unnamed-gpio-in 3 1\nclock_step 9999999\n",
		"irq_intercept_in /\nirq_intercept_in ..\nset_irq_in /machine x 0 0\n\x00\xff\r\n",
		"read 0 0xffffffffffffffff\nmemset 0 0x1000001 0\nwrite 0 1\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		requests := 0
		for _, line := range strings.Split(string(data), "\n") {
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			requests++
			if strings.HasPrefix(words[0], "clock_") && len(strings.Join(words[1:], "")) > 8 {
				t.Skip("long stretches of timer interrupts take a while")
			}
		}
		_, srv := newMachine(t)
		c := &talk{in: bytes.NewReader(data)}
		if err := srv.Serve(c); err != nil {
			t.Fatal(err)
		}
		replies := 0
		for _, line := range strings.Split(strings.TrimSuffix(c.out.String(), "\n"), "\n") {
			switch {
			case strings.HasPrefix(line, "OK"), strings.HasPrefix(line, "FAIL "):
				replies++
			case !strings.HasPrefix(line, "IRQ ") && requests > 0:
				t.Errorf("a reply of %q", line)
			}
		}
		if replies != requests {
			t.Errorf("%d replies to %d requests: %q", replies, requests, c.out.String())
		}
	})
}
