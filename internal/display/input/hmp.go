package input

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"govmd/internal/qmp"
)

// HumanCommands returns the human monitor's commands about input devices.
func (r *Router) HumanCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "sendkey", Args: "keys:s,hold-time:i?", Params: "keys [hold_ms]", Complete: completeKeys,
			Help: "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)",
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				keys, wrong := parseKeys(a.Str("keys"))
				if keys == nil {
					_, err := fmt.Fprintf(out, "invalid parameter: %s\n", wrong)
					return err
				}
				return r.Type(keys, milliseconds(a.Int("hold-time", defaultHold.Milliseconds())))
			},
		},
		{
			Name: "mouse_move", Args: "dx_str:s,dy_str:s,dz_str:s?", Params: "dx dy [dz]", Help: "send mouse move events",
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				var d [3]int
				for i, name := range []string{"dx_str", "dy_str", "dz_str"} {
					if !a.Has(name) {
						continue
					}
					n, err := strconv.ParseInt(a.Str(name), 0, 64)
					if err != nil {
						_, err = fmt.Fprintf(out, "invalid parameter: %s\n", a.Str(name))
						return err
					}
					d[i] = addMotion(0, n)
				}
				r.Move(d[0], d[1], -d[2]) // away from the user is positive here
				return nil
			},
		},
		{
			Name: "mouse_button", Args: "button_state:i", Params: "state", Help: "change mouse button state (1=L, 2=R, 4=M)",
			Run: func(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				r.SetButtons(uint8(a.Int("button_state", 0) & (ButtonLeft | ButtonRight | ButtonMiddle)))
				return nil
			},
		},
		{
			Name: "mouse_set", Args: "index:i", Params: "index", Help: "set which mouse device receives events",
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				if index := a.Int("index", 0); !r.SetMouse(index) {
					_, err := fmt.Fprintf(out, "Mouse at index '%d' not found\n", index)
					return err
				}
				return nil
			},
		},
	}
}

// InfoCommands returns the second words of `info` about input devices.
func (r *Router) InfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "mice", Help: "show which guest mouse is receiving events",
		Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			list := r.mouseInfos()
			if len(list) == 0 {
				_, err := io.WriteString(out, "No mouse devices connected\n")
				return err
			}
			for _, m := range list {
				mark, absolute := ' ', ""
				if m.Current {
					mark = '*'
				}
				if m.Absolute {
					absolute = " (absolute)"
				}
				if _, err := fmt.Fprintf(out, "%c Mouse #%d: %s%s\n", mark, m.Index, m.Name, absolute); err != nil {
					return err
				}
			}
			return nil
		},
	}}
}

// parseKeys reads keys that are pressed together: "ctrl-alt-f1". A key is a name, "<"
// or a number in hexadecimal. Of what is no key it returns the first, and no keys.
func parseKeys(s string) (keys []Key, wrong string) {
	words := strings.Split(s, "-")
	keys = make([]Key, len(words))
	for i, w := range words {
		if w == "<" {
			w = "less"
		}
		k, ok := keysByName[w]
		if !ok && strings.HasPrefix(w, "0x") {
			n, err := strconv.ParseUint(w, 0, 8)
			k, ok = Key(n), err == nil
		}
		if !ok {
			return nil, w
		}
		keys[i] = k
	}
	return keys, ""
}

// completeKeys completes the last key of those that are pressed together.
func completeKeys(_ *qmp.Context, words []string) []string {
	if len(words) != 2 {
		return nil
	}
	before := words[1][:strings.LastIndexByte(words[1], '-')+1]
	list := make([]string, len(allKeyNames))
	for i, name := range allKeyNames {
		list[i] = before + name
	}
	return list
}
