package human

import "slices"

// maxHistory is how many lines are remembered.
const maxHistory = 64

// history is what was entered, oldest first. No line is there twice.
type history struct {
	lines []string
	at    int // the line that is shown; len(lines) when it is none of them
}

// add remembers a line. It becomes the newest.
func (h *history) add(line string) {
	if line != "" {
		if i := slices.Index(h.lines, line); i >= 0 {
			h.lines = slices.Delete(h.lines, i, i+1)
		}
		if len(h.lines) == maxHistory {
			h.lines = slices.Delete(h.lines, 0, 1)
		}
		h.lines = append(h.lines, line)
	}
	h.at = len(h.lines)
}

// older returns the line before the one that is shown.
func (h *history) older() (string, bool) {
	if h.at == 0 {
		return "", false
	}
	h.at--
	return h.lines[h.at], true
}

// newer returns the line after the one that is shown; after the newest an empty one.
func (h *history) newer() (string, bool) {
	if h.at == len(h.lines) {
		return "", false
	}
	if h.at++; h.at == len(h.lines) {
		return "", true
	}
	return h.lines[h.at], true
}

func (h *history) all() []string { return slices.Clone(h.lines) }
