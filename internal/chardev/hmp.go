package chardev

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"govmd/internal/qmp"
)

// HumanCommands returns the human monitor's commands about character devices.
func (r *Registry) HumanCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "chardev-add", Args: "args:s", Params: "args", Help: "add chardev",
			Complete: completeBackend(1),
			Run: func(ctx *qmp.Context, args qmp.HumanArgs, out io.Writer) error {
				o, err := Schema.Parse(args.Str("args"))
				if err != nil {
					return err
				}
				cfg, err := FromOptions(o)
				if err != nil {
					return err
				}
				return r.now(ctx, cfg, false, out)
			},
		},
		{
			Name: "chardev-change", Args: "id:s,args:s", Params: "id args", Help: "change chardev",
			Complete: func(ctx *qmp.Context, words []string) []string {
				if len(words) > 2 {
					return completeBackend(2)(ctx, words)
				}
				return r.complete(ctx, words)
			},
			Run: func(ctx *qmp.Context, args qmp.HumanArgs, out io.Writer) error {
				o, err := Schema.Parse(args.Str("args"))
				if err != nil {
					return err
				}
				if o.ID != "" {
					return fmt.Errorf("Unexpected 'id' parameter")
				}
				cfg, err := fromOptions(o)
				if err != nil {
					return err
				}
				cfg.ID, cfg.Mux = args.Str("id"), false
				return r.now(ctx, cfg, true, out)
			},
		},
		{
			Name: "chardev-remove", Args: "id:s", Params: "id", Help: "remove chardev",
			Complete: r.complete,
			Run: func(_ *qmp.Context, args qmp.HumanArgs, _ io.Writer) error {
				c, err := r.take(args.Str("id"))
				if err == nil {
					r.closeLater(c, func() {})
				}
				return err
			},
		},
		{
			Name: "chardev-send-break", Args: "id:s", Params: "id", Help: "send a break on chardev",
			Complete: r.complete,
			Run: func(_ *qmp.Context, args qmp.HumanArgs, _ io.Writer) error {
				return r.sendBreak(args.Str("id"))
			},
		},
		{
			Name: "ringbuf_write", Args: "device:s,data:s", Params: "device data",
			Help: "Write to a ring buffer character device", Complete: r.completeRing,
			Run: func(_ *qmp.Context, args qmp.HumanArgs, _ io.Writer) error {
				return r.ringWrite(&writeArgs{Device: args.Str("device"), Data: args.Str("data")})
			},
		},
		{
			Name: "ringbuf_read", Args: "device:s,size:i", Params: "device size",
			Help: "Read from a ring buffer character device", Complete: r.completeRing,
			Run: func(_ *qmp.Context, args qmp.HumanArgs, out io.Writer) error {
				text, err := r.ringRead(&readArgs{Device: args.Str("device"), Size: args.Int("size", 0)})
				if err != nil {
					return err
				}
				_, err = io.WriteString(out, printable(text)+"\n")
				return err
			},
		},
	}
}

// InfoCommands returns the second words of "info" about character devices.
func (r *Registry) InfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "chardev", Help: "show the character devices",
		Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			for _, i := range r.infos() {
				if _, err := fmt.Fprintf(out, "%s: filename=%s\n", i.Label, i.Filename); err != nil {
					return err
				}
			}
			return nil
		},
	}}
}

// patience is how long a human command may keep the control lane waiting for what
// is mostly there at once: a server, the reader of a pipe.
const patience = time.Second

// now opens a device, on the control lane, for a person, and puts it in the place
// of another if change is true. A client can come later. Out is told the name of a
// new terminal.
func (r *Registry) now(ctx *qmp.Context, cfg Config, change bool, out io.Writer) error {
	if s, ok := cfg.Backend.(SocketConfig); ok {
		s.Wait = false
		cfg.Backend = s
	}
	names, done, err := r.resolve(ctx, &cfg)
	if err != nil {
		return err
	}
	defer done()
	limit, cancel := context.WithTimeoutCause(context.Background(), patience, fmt.Errorf("no answer within %v: chardev-add of QMP waits longer", patience))
	defer cancel()
	if !change {
		c, err := r.add(limit, cfg, names)
		if err != nil {
			return err
		}
		return sayPTY(out, c)
	}
	old, err := r.changeable(cfg.ID)
	if err != nil {
		return err
	}
	c, unreserve, err := r.openOther(limit, cfg, names)
	if err != nil {
		return err
	}
	defer unreserve()
	if err := r.swap(old, c); err != nil {
		c.close()
		return err
	}
	r.closeLater(old, func() {})
	return sayPTY(out, c)
}

func sayPTY(out io.Writer, c *Chardev) (err error) {
	if name := c.PTY(); name != "" {
		_, err = fmt.Fprintf(out, "char device redirected to %s (label %s)\n", name, c.id)
	}
	return err
}

// printable returns text with what a terminal would act upon escaped.
func printable(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c == '\\':
			b.WriteString(`\\`)
		case c < ' ' && c != '\n' && c != '\t' || c == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// completeBackend completes the word of that number to the name of a back end.
func completeBackend(word int) func(*qmp.Context, []string) []string {
	return func(_ *qmp.Context, words []string) []string {
		if len(words) != word+1 {
			return nil
		}
		return Backends()
	}
}

func (r *Registry) complete(*qmp.Context, []string) []string {
	var ids []string
	for _, c := range r.All() {
		ids = append(ids, c.id)
	}
	return ids
}

func (r *Registry) completeRing(ctx *qmp.Context, words []string) []string {
	var ids []string
	for _, id := range r.complete(ctx, words) {
		if _, err := r.ring(id); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}
