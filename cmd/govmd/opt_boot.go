package main

import (
	"errors"
	"fmt"

	"govmd/internal/machine"
	"govmd/internal/machine/boot"
	"govmd/internal/machine/smbios"
	"govmd/internal/option"
)

// bootSchema is there for its help text; boot.Order checks.
var bootSchema = &option.Schema{Name: "boot-opts", Implied: "order", Keys: []option.Key{
	{Name: "order"}, {Name: "once"}, {Name: "menu", Type: option.Bool}, {Name: "strict", Type: option.Bool},
	{Name: "splash"}, {Name: "splash-time", Type: option.Number}, {Name: "reboot-timeout", Type: option.Number},
}}

func applyBoot(s *setup, _, text string) error {
	list := option.Parse(text, bootSchema.Implied)
	if order, _ := list.Get("order"); list.Help() || option.IsHelp(order) {
		s.help = func() error { return printf("%s", bootSchema.HelpText()) }
		return nil
	}
	return s.bootOptions(list)
}

func (s *setup) bootOptions(list option.List) error {
	var pairs []boot.Pair
	for _, it := range list {
		pairs = append(pairs, boot.Pair{Key: it.Key, Value: it.Value})
	}
	return s.cfg.Boot.Add(pairs)
}

var optionROMSchema = &option.Schema{Name: "option-rom", Implied: "romfile", Keys: []option.Key{
	{Name: "romfile"}, {Name: "bootindex", Type: option.Number},
}}

func applyOptionROM(s *setup, given, text string) error {
	o, err := s.parse(optionROMSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	rom := machine.OptionROM{File: o.Str("romfile")}
	if rom.File == "" {
		return errors.New("Option ROM file is not specified")
	}
	if rom.BootIndex, err = o.Int("bootindex", -1); err != nil {
		return err
	}
	s.cfg.OptionROMs = append(s.cfg.OptionROMs, rom)
	return nil
}

var rtcSchema = &option.Schema{Name: "rtc", Keys: []option.Key{
	{Name: "base", Help: "utc, localtime, or a date such as 2006-06-17T16:01:21"},
	{Name: "clock", Help: "host, rt or vm"}, {Name: "driftfix", Help: "none or slew"},
}}

func applyRTC(s *setup, given, text string) error {
	o, err := s.parse(rtcSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	rtc := &s.cfg.RTC
	for key, field := range map[string]*string{"base": &rtc.Base, "clock": &rtc.Clock, "driftfix": &rtc.DriftFix} {
		if o.Has(key) {
			*field = o.Str(key)
		}
	}
	return rtc.Check()
}

func applySMBIOS(s *setup, _, text string) error {
	var pairs []smbios.Pair
	for _, it := range option.Parse(text, "") {
		pairs = append(pairs, smbios.Pair{Key: it.Key, Value: it.Value})
	}
	s.cfg.SMBIOS = append(s.cfg.SMBIOS, pairs)
	return nil
}

const (
	// maxFwCfgName is the longest name that fits in fw_cfg's directory.
	maxFwCfgName = 55
	// maxFwCfgFile bounds what a file for the firmware makes us hold.
	maxFwCfgFile = 256 << 20
)

func applyFwCfg(s *setup, _, text string) error {
	list := option.Parse(text, "name")
	item := machine.FwCfgItem{}
	item.Name, _ = list.Get("name")
	file, hasFile := list.Get("file")
	str, hasString := list.Get("string")
	keys := []string{"name", "file", "string"}
	if rest := list.Without(keys...); len(rest) > 0 {
		return &option.KeyError{Key: rest[0].Key, Near: option.Nearest(rest[0].Key, keys)}
	}
	switch {
	case item.Name == "" || hasFile == hasString:
		return errors.New("name, plus exactly one of file and string, are needed")
	case len(item.Name) > maxFwCfgName:
		return fmt.Errorf("name too long (max. %d char)", maxFwCfgName)
	case hasString:
		item.Data = []byte(str)
	default:
		data, err := boot.ReadFile("file", file, maxFwCfgFile)
		if err != nil {
			return err
		}
		item.Data = data
	}
	s.cfg.FwCfg = append(s.cfg.FwCfg, item)
	return nil
}
