package kvm

// Closing reports whether Close has begun.
func (t *Thread) Closing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closing
}
