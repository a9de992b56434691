package kvm

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// nestedHeadBytes is the size of struct kvm_nested_state without its tail; the
// total is a 32-bit number at offset 4.
const nestedHeadBytes = 128

// NestedState reads what the guest's own use of VMX or SVM adds to the vCPU's
// state: an opaque blob. max is what Check(CapNestedState) returns; if that is
// 0 there is none and the result is nil.
func (v *VCPU) NestedState(max int) ([]byte, error) {
	if max < nestedHeadBytes {
		return nil, nil
	}
	buf := make([]byte, max)
	binary.LittleEndian.PutUint32(buf[4:], uint32(max))
	if _, err := ioctlPtr(v.fd, reqGetNestedState, &buf[0]); err != nil {
		return nil, v.fail(reqGetNestedState, err)
	}
	n := binary.LittleEndian.Uint32(buf[4:])
	if int64(n) > int64(max) || n < 8 {
		return nil, v.fail(reqGetNestedState, errors.New("kernel returned a bad size"))
	}
	return buf[:n], nil
}

// SetNestedState loads what NestedState returned.
func (v *VCPU) SetNestedState(state []byte) error {
	if len(state) < nestedHeadBytes || int64(binary.LittleEndian.Uint32(state[4:])) > int64(len(state)) {
		return v.fail(reqSetNestedState, unix.EINVAL)
	}
	_, err := ioctlPtr(v.fd, reqSetNestedState, &state[0])
	return v.fail(reqSetNestedState, err)
}
