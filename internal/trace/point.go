package trace

// Point0 is a trace point that reports only that it was passed.
type Point0 struct{ Point }

// New0 returns a trace point. It panics when the name is taken or none.
func New0(name, format string) *Point0 {
	p := &Point0{}
	p.register(name, format, false)
	return p
}

// Emit reports that the point was passed, if that is wanted.
func (p *Point0) Emit() {
	if p.on.Load() {
		p.write()
	}
}

// Point1 is a trace point that reports one value.
type Point1[A any] struct{ Point }

// New1 returns a trace point that reports one value.
func New1[A any](name, format string) *Point1[A] {
	p := &Point1[A]{}
	p.register(name, format, false)
	return p
}

// Emit reports a, if that is wanted.
func (p *Point1[A]) Emit(a A) {
	if p.on.Load() {
		p.emit(a)
	}
}

//go:noinline
func (p *Point1[A]) emit(a A) { p.write(a) }

// Point2 is a trace point that reports two values.
type Point2[A, B any] struct{ Point }

// New2 returns a trace point that reports two values.
func New2[A, B any](name, format string) *Point2[A, B] {
	p := &Point2[A, B]{}
	p.register(name, format, false)
	return p
}

// Emit reports a and b, if that is wanted.
func (p *Point2[A, B]) Emit(a A, b B) {
	if p.on.Load() {
		p.emit(a, b)
	}
}

//go:noinline
func (p *Point2[A, B]) emit(a A, b B) { p.write(a, b) }

// Point3 is a trace point that reports three values.
type Point3[A, B, C any] struct{ Point }

// New3 returns a trace point that reports three values.
func New3[A, B, C any](name, format string) *Point3[A, B, C] {
	p := &Point3[A, B, C]{}
	p.register(name, format, false)
	return p
}

// Emit reports a, b and c, if that is wanted.
func (p *Point3[A, B, C]) Emit(a A, b B, c C) {
	if p.on.Load() {
		p.emit(a, b, c)
	}
}

//go:noinline
func (p *Point3[A, B, C]) emit(a A, b B, c C) { p.write(a, b, c) }

// Point4 is a trace point that reports four values.
type Point4[A, B, C, D any] struct{ Point }

// New4 returns a trace point that reports four values.
func New4[A, B, C, D any](name, format string) *Point4[A, B, C, D] {
	p := &Point4[A, B, C, D]{}
	p.register(name, format, false)
	return p
}

// Emit reports a, b, c and d, if that is wanted.
func (p *Point4[A, B, C, D]) Emit(a A, b B, c C, d D) {
	if p.on.Load() {
		p.emit(a, b, c, d)
	}
}

//go:noinline
func (p *Point4[A, B, C, D]) emit(a A, b B, c C, d D) { p.write(a, b, c, d) }

// VCPU3 is a trace point of a vCPU that reports three values besides. It can be
// enabled for single vCPUs.
type VCPU3[A, B, C any] struct{ Point }

// NewVCPU3 returns a trace point of vCPUs. The vCPU is the first value of format.
func NewVCPU3[A, B, C any](name, format string) *VCPU3[A, B, C] {
	p := &VCPU3[A, B, C]{}
	p.register(name, format, true)
	return p
}

// Emit reports a, b and c of a vCPU, if that is wanted.
func (p *VCPU3[A, B, C]) Emit(vcpu int, a A, b B, c C) {
	if p.on.Load() {
		p.emit(vcpu, a, b, c)
	}
}

//go:noinline
func (p *VCPU3[A, B, C]) emit(vcpu int, a A, b B, c C) {
	if p.OnVCPU(vcpu) {
		p.write(vcpu, a, b, c)
	}
}

// VCPU1 is a trace point of a vCPU that reports one value besides.
type VCPU1[A any] struct{ Point }

// NewVCPU1 returns a trace point of vCPUs. The vCPU is the first value of format.
func NewVCPU1[A any](name, format string) *VCPU1[A] {
	p := &VCPU1[A]{}
	p.register(name, format, true)
	return p
}

// Emit reports a of a vCPU, if that is wanted.
func (p *VCPU1[A]) Emit(vcpu int, a A) {
	if p.on.Load() {
		p.emit(vcpu, a)
	}
}

//go:noinline
func (p *VCPU1[A]) emit(vcpu int, a A) {
	if p.OnVCPU(vcpu) {
		p.write(vcpu, a)
	}
}
