package main

import (
	"fmt"
	"io"
	"strings"

	"govmd/internal/qmp"
	"govmd/internal/trace"
)

// logCommands are the human monitor's commands about the log.
func (v *vm) logCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "log", Args: "items:s", Params: "item1[,...]", Help: "activate logging of the specified items",
			Complete: func(*qmp.Context, []string) (names []string) {
				for _, i := range logItems {
					names = append(names, strings.TrimSuffix(i.name, "PATTERN"))
				}
				return append(names, "all", "none")
			},
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error { return v.setLogItems(a.Str("items"), out) },
		},
		{
			Name: "logfile", Args: "filename:F", Params: "filename", Help: "output logs to 'filename'", NoLane: true,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				name := a.Str("filename")
				if err := v.setLogFile(name); err != nil {
					fmt.Fprintf(out, "Error opening logfile %s: %s\n", name, qmp.Strerror(err))
				}
				return nil
			},
		},
	}
}

// setLogItems is log: what is no item brings the list of those that there are.
func (v *vm) setLogItems(items string, out io.Writer) error {
	if checkLogItems(items) != nil {
		_, err := io.WriteString(out, logItemsText())
		return err
	}
	if eachTrace(items, func(pattern string) { trace.Enable(pattern) }) {
		return listTracePoints(out)
	}
	v.log.SetLevel(logLevel(items))
	return nil
}

// setLogFile has what is logged go to another file.
func (v *vm) setLogFile(name string) error {
	v.logChange.Lock()
	defer v.logChange.Unlock()
	if l := v.logFile.Load(); l != nil {
		return l.replace(name)
	}
	l, err := openLogFile(&v.fds, name)
	if err != nil {
		return err
	}
	v.logFile.Store(l)
	v.logSplit.setDebug(l)
	return nil
}
