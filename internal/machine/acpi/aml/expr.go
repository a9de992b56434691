package aml

import "fmt"

// Local is local variable n of a method, 0 to 7.
func Local(n int) Term { return slot(0x60, n, 7) }

// Arg is argument n of a method, 0 to 6.
func Arg(n int) Term { return slot(0x68, n, 6) }

func slot(op byte, n, last int) Term {
	if n < 0 || n > last {
		panic(fmt.Sprintf("aml: no variable %d", n))
	}
	return Term{op + byte(n)}
}

// operator is an operator on two operands. Its result is also stored in the
// target if there is one; the null name stands for none.
func operator(op byte, a, b Term, target []Term) Term {
	switch len(target) {
	case 0:
		return Join(Term{op}, a, b, Term{0})
	case 1:
		return Join(Term{op}, a, b, target[0])
	default:
		panic("aml: more than one target")
	}
}

// Add is a + b. A target, here and below, gets the result too.
func Add(a, b Term, target ...Term) Term { return operator(0x72, a, b, target) }

// Subtract is a - b.
func Subtract(a, b Term, target ...Term) Term { return operator(0x74, a, b, target) }

// And is the bitwise a & b.
func And(a, b Term, target ...Term) Term { return operator(0x7b, a, b, target) }

// Or is the bitwise a | b.
func Or(a, b Term, target ...Term) Term { return operator(0x7d, a, b, target) }

// Xor is the bitwise a ^ b.
func Xor(a, b Term, target ...Term) Term { return operator(0x7f, a, b, target) }

// ShiftLeft is a << n.
func ShiftLeft(a, n Term, target ...Term) Term { return operator(0x79, a, n, target) }

// ShiftRight is a >> n.
func ShiftRight(a, n Term, target ...Term) Term { return operator(0x7a, a, n, target) }

// Index is a reference to element i of a package, buffer or string.
func Index(a, i Term) Term { return operator(0x88, a, i, nil) }

// DerefOf is what a reference refers to.
func DerefOf(a Term) Term { return Join(Term{0x83}, a) }

// SizeOf is the number of elements or bytes in a variable or named object.
func SizeOf(a Term) Term { return Join(Term{0x87}, a) }

// Equal is a == b.
func Equal(a, b Term) Term { return Join(Term{0x93}, a, b) }

// Less is a < b.
func Less(a, b Term) Term { return Join(Term{0x95}, a, b) }

// Greater is a > b.
func Greater(a, b Term) Term { return Join(Term{0x94}, a, b) }

// LogicalAnd is a && b.
func LogicalAnd(a, b Term) Term { return Join(Term{0x90}, a, b) }

// LogicalOr is a || b.
func LogicalOr(a, b Term) Term { return Join(Term{0x91}, a, b) }

// LogicalNot is !a.
func LogicalNot(a Term) Term { return Join(Term{0x92}, a) }

// Store writes value to a variable, a named object or an Index.
func Store(value, target Term) Term { return Join(Term{0x70}, value, target) }

// Increment adds one to a variable or named object.
func Increment(target Term) Term { return Join(Term{0x75}, target) }

// Call calls a method. How many arguments it takes is known from its
// declaration only: the encoding has no count.
func Call(path string, args ...Term) Term { return Join(Ref(path), Join(args...)) }

// Return ends the method with a value.
func Return(value Term) Term { return Join(Term{0xa4}, value) }

// If runs the body when cond is not zero. An Else may follow directly.
func If(cond Term, body ...Term) Term { return pkg(Term{0xa0}, cond, Join(body...)) }

// Else is the other branch of the If before it.
func Else(body ...Term) Term { return pkg(Term{0xa1}, body...) }

// While repeats the body as long as cond is not zero.
func While(cond Term, body ...Term) Term { return pkg(Term{0xa2}, cond, Join(body...)) }

// Break leaves the innermost While.
func Break() Term { return Term{0xa5} }

// Notify tells the system that something happened to a device; for value see
// section 5.6.6.
func Notify(device string, value uint8) Term {
	return Join(Term{0x86}, Ref(device), Int(uint64(value)))
}

// Acquire takes a mutex, however long that lasts.
func Acquire(mutex string) Term { return Join(Term{opExt, 0x23}, Ref(mutex), Term{0xff, 0xff}) }

// Release gives a mutex back.
func Release(mutex string) Term { return Join(Term{opExt, 0x27}, Ref(mutex)) }

// Sleep waits for some milliseconds.
func Sleep(ms uint64) Term { return Join(Term{opExt, 0x22}, Int(ms)) }
