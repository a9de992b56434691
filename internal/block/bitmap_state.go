package block

// BitmapCheck says what keeps a bitmap from being used.
type BitmapCheck uint8

// The checks of Check.
const (
	BitmapBusy BitmapCheck = 1 << iota
	BitmapReadonly
	BitmapInconsistent

	// BitmapDefault is what commands that change a bitmap check; BitmapAllowRO those
	// that only read it.
	BitmapDefault = BitmapBusy | BitmapReadonly | BitmapInconsistent
	BitmapAllowRO = BitmapBusy | BitmapInconsistent
)

// Check refuses a bitmap that is in a state in which it cannot be used.
func (b *Bitmap) Check(c BitmapCheck) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c&BitmapBusy != 0 && (b.busy || b.successor != nil):
		return Errorf(KindInUse, "Bitmap '%s' is currently in use by another operation and cannot be used", b.name)
	case c&BitmapReadonly != 0 && b.readonly:
		return Errorf(KindInUse, "Bitmap '%s' is readonly and cannot be modified", b.name)
	case c&BitmapInconsistent != 0 && b.inconsistent:
		return Errorf(KindInUse, "Bitmap '%s' is inconsistent and cannot be used", b.name)
	}
	return nil
}

// locked reads or changes a field under the lock.
func (b *Bitmap) locked(fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn()
}

// Recording reports whether writes are marked.
func (b *Bitmap) Recording() (on bool) {
	b.locked(func() { on = !b.disabled || b.successor != nil && !b.successor.disabled })
	return on
}

// Enabled reports whether the bitmap itself marks.
func (b *Bitmap) Enabled() (on bool) { b.locked(func() { on = !b.disabled }); return on }

// SetEnabled starts or ends marking.
func (b *Bitmap) SetEnabled(on bool) { b.locked(func() { b.disabled = !on }) }

// Busy reports whether an operation (a job, an export) has the bitmap.
func (b *Bitmap) Busy() (on bool) { b.locked(func() { on = b.busy || b.successor != nil }); return on }

// SetBusy says so.
func (b *Bitmap) SetBusy(on bool) { b.locked(func() { b.busy = on }) }

// Persistent reports whether the bitmap is stored in its image.
func (b *Bitmap) Persistent() (on bool) { b.locked(func() { on = b.persistent }); return on }

// SetPersistent says so.
func (b *Bitmap) SetPersistent(on bool) { b.locked(func() { b.persistent = on }) }

// Readonly reports whether the bitmap belongs to an image that cannot be written.
func (b *Bitmap) Readonly() (on bool) { b.locked(func() { on = b.readonly }); return on }

// SetReadonly says so.
func (b *Bitmap) SetReadonly(on bool) { b.locked(func() { b.readonly = on }) }

// Inconsistent reports whether the bitmap was found in use when its image was
// opened: what it holds is not to be trusted.
func (b *Bitmap) Inconsistent() (on bool) { b.locked(func() { on = b.inconsistent }); return on }

// SetInconsistent says so; such a bitmap marks nothing.
func (b *Bitmap) SetInconsistent() { b.locked(func() { b.inconsistent, b.disabled = true, true }) }

// SkipStore reports whether the bitmap is not to be stored, since it has been
// handed to whoever takes the image over.
func (b *Bitmap) SkipStore() (on bool) { b.locked(func() { on = b.skipStore }); return on }

// SetSkipStore says so.
func (b *Bitmap) SetSkipStore(on bool) { b.locked(func() { b.skipStore = on }) }

// Load replaces the bits, in the form of Words.
func (b *Bitmap) Load(words []uint64) { b.locked(func() { b.bits.load(words) }) }

// CreateSuccessor freezes the bitmap, for a job that uses what it holds: what is
// written from now on is marked in an anonymous successor, which joins it (Abdicate
// when the job has used the bits, Reclaim when it has not).
func (b *Bitmap) CreateSuccessor() error {
	if err := b.Check(BitmapBusy); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &Bitmap{node: b.node, shift: b.shift, size: b.size, disabled: b.disabled}
	s.bits.resize(b.bits.n)
	b.successor = s
	b.disabled = true
	return nil
}

// Abdicate makes the successor's bits the bitmap's: what it held before has been
// used.
func (b *Bitmap) Abdicate() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bits, b.disabled = b.successor.bits, b.successor.disabled
	b.successor = nil
}

// Reclaim joins the successor's bits to the bitmap's.
func (b *Bitmap) Reclaim() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bits.or(&b.successor.bits)
	b.disabled = b.successor.disabled
	b.successor = nil
}
