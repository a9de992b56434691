// Package blkdebug is a filter that makes errors and holds requests, for testing
// what is above it.
package blkdebug

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// Options are the options of the driver blkdebug.
type Options struct {
	Image        block.Ref     `qmp:"image"`
	Config       *string       `qmp:"config"`
	Align        *int64        `qmp:"align"`
	MaxTransfer  *int32        `qmp:"max-transfer"`
	OptWriteZero *int32        `qmp:"opt-write-zero"`
	MaxWriteZero *int32        `qmp:"max-write-zero"`
	OptDiscard   *int32        `qmp:"opt-discard"`
	MaxDiscard   *int32        `qmp:"max-discard"`
	InjectError  []InjectError `qmp:"inject-error,optional"`
	SetState     []SetState    `qmp:"set-state,optional"`
	TakePerms    []Permission  `qmp:"take-child-perms,optional"`
	UnsharePerms []Permission  `qmp:"unshare-child-perms,optional"`
}

// InjectError is a rule that has requests fail once an event has come.
type InjectError struct {
	Event       Event   `qmp:"event"`
	IOType      *IOType `qmp:"iotype"`
	State       *int    `qmp:"state"`
	Errno       *int    `qmp:"errno"`
	Sector      *int64  `qmp:"sector"`
	Once        *bool   `qmp:"once"`
	Immediately *bool   `qmp:"immediately"`
}

// SetState is a rule that changes the state at an event.
type SetState struct {
	Event    Event `qmp:"event"`
	State    *int  `qmp:"state"`
	NewState int   `qmp:"new_state"`
}

// Event is the name of an event.
type Event string

// EnumValues implements qmp.Enum.
func (Event) EnumValues() []string { return block.DebugEventNames() }

// IOType is the kind of request that fails.
type IOType string

// EnumValues implements qmp.Enum.
func (IOType) EnumValues() []string {
	return []string{"read", "write", "write-zeroes", "discard", "flush", "block-status"}
}

// Permission is the name of a permission.
type Permission string

// EnumValues implements qmp.Enum.
func (Permission) EnumValues() []string { return block.PermAll.Names() }

func perms(list []Permission) (p block.Perm) {
	for _, name := range list {
		for i, n := range block.PermAll.Names() {
			if n == string(name) {
				p |= 1 << i
			}
		}
	}
	return p
}

func init() {
	block.Register[Options](&block.Type{
		Name: "blkdebug", Filter: true, Open: open,
		Prefixes: []string{"blkdebug"}, ParseName: parseName,
	})
}

// parseName reads "blkdebug:CONFIG:IMAGE".
func parseName(name string) (*qmp.Object, error) {
	rest, _ := strings.CutPrefix(name, "blkdebug:")
	config, image, ok := strings.Cut(rest, ":")
	if !ok {
		return nil, block.Errorf(block.KindInvalid, "blkdebug requires both config file and image path")
	}
	o := &qmp.Object{}
	if config != "" {
		o.Set("config", config)
	}
	sub, err := block.NameOptions(image)
	if err != nil {
		return nil, err
	}
	o.Set("image", sub)
	return o, nil
}

// maxConfig bounds a file of rules, in bytes.
const maxConfig = 1 << 20

// readConfig adds the rules of a file with sections [inject-error] and [set-state].
func readConfig(name string, o *Options) error {
	f, err := os.Open(name)
	if err != nil {
		return block.Errorf(block.KindIO, "Could not read blkdebug config file '%s': %w", name, err)
	}
	defer f.Close()
	var inject *InjectError
	var set *SetState
	sc := bufio.NewScanner(f)
	total := 0
	for line := 1; sc.Scan(); line++ {
		text := strings.TrimSpace(sc.Text())
		bad := func() error {
			return block.Errorf(block.KindInvalid, "%s:%d: '%s' is no rule of blkdebug", name, line, text)
		}
		if total += len(text); total > maxConfig {
			return block.Errorf(block.KindInvalid, "'%s' is larger than %d bytes", name, maxConfig)
		}
		switch {
		case text == "" || text[0] == '#':
			continue
		case text == "[inject-error]":
			o.InjectError = append(o.InjectError, InjectError{})
			inject, set = &o.InjectError[len(o.InjectError)-1], nil
			continue
		case text == "[set-state]":
			o.SetState = append(o.SetState, SetState{})
			set, inject = &o.SetState[len(o.SetState)-1], nil
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		if !ok || inject == nil && set == nil || !setKey(inject, set, key, value) {
			return bad()
		}
	}
	return sc.Err()
}

func setKey(inject *InjectError, set *SetState, key, value string) bool {
	n, numErr := strconv.ParseInt(value, 0, 64)
	i := int(n)
	on := value == "on"
	if key == "event" {
		if _, ok := block.ParseDebugEvent(value); !ok {
			return false
		}
		if inject != nil {
			inject.Event = Event(value)
		} else {
			set.Event = Event(value)
		}
		return true
	}
	switch {
	case key == "once" && inject != nil:
		inject.Once = &on
		return on || value == "off"
	case key == "immediately" && inject != nil:
		inject.Immediately = &on
		return on || value == "off"
	case key == "iotype" && inject != nil:
		t := IOType(value)
		inject.IOType = &t
		return true
	case numErr != nil:
		return false
	case key == "state" && inject != nil:
		inject.State = &i
	case key == "state":
		set.State = &i
	case key == "errno" && inject != nil:
		inject.Errno = &i
	case key == "sector" && inject != nil:
		inject.Sector = &n
	case key == "new_state" && set != nil:
		set.NewState = i
	default:
		return false
	}
	return true
}
