package kvm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// MSR is a model-specific register and its value.
type MSR struct {
	Index uint32
	Value uint64
}

// MSRError says which MSR of a batch KVM refused.
type MSRError struct {
	Write bool
	VCPU  int // or -1 for feature MSRs of the system
	Index uint32
	Done  int // how many of the batch came before it and were done
}

// Error names the MSR.
func (e *MSRError) Error() string {
	op := "read"
	if e.Write {
		op = "write"
	}
	if e.VCPU < 0 {
		return fmt.Sprintf("KVM does not %s MSR 0x%x", op, e.Index)
	}
	return fmt.Sprintf("KVM does not %s MSR 0x%x of vCPU %d", op, e.Index, e.VCPU)
}

// msrBatch is how many MSRs go in one call; the kernel takes fewer than 256.
const msrBatch = 128

// MSRIndexList returns the MSRs that make up a vCPU's state on this host.
func (s *System) MSRIndexList() ([]uint32, error) {
	return growIndexList(s.fd, reqGetMSRIndexList, usualMSRs)
}

// MSRFeatureIndexList returns the MSRs that describe features, readable with
// System.GetMSRs.
func (s *System) MSRFeatureIndexList() ([]uint32, error) {
	return growIndexList(s.fd, reqGetMSRFeatureIndexList, usualMSRs)
}

// usualMSRs is how many indices there is room for at first.
const usualMSRs = 256

// growIndexList issues a call that fills a kvm_msr_list, with room for n indices
// and more when the kernel asks for it.
func growIndexList(fd int, req request, n int) ([]uint32, error) {
	for {
		buf := make([]uint32, 1+n)
		buf[0] = uint32(n)
		_, err := ioctlPtr(fd, req, &buf[0])
		if err == nil {
			return buf[1 : 1+min(int(buf[0]), n)], nil
		}
		if !errors.Is(err, unix.E2BIG) || int(buf[0]) <= n || buf[0] > 1<<16 {
			return nil, opError(req, err)
		}
		n = int(buf[0]) // KVM tells how many there are
	}
}

// GetMSRs reads feature MSRs of the host's KVM into the Value fields.
func (s *System) GetMSRs(msrs []MSR) error {
	return transferMSRs(s.fd, -1, reqGetMSRs, msrs)
}

// GetMSRs reads the MSRs named by the Index fields into the Value fields. If
// KVM refuses one, those before it are filled and the error is a *MSRError.
func (v *VCPU) GetMSRs(msrs []MSR) error {
	return transferMSRs(v.fd, v.id, reqGetMSRs, msrs)
}

// SetMSRs writes the MSRs in order. If KVM refuses one, those before it are
// written and the error is a *MSRError.
func (v *VCPU) SetMSRs(msrs []MSR) error {
	return transferMSRs(v.fd, v.id, reqSetMSRs, msrs)
}

func transferMSRs(fd, vcpu int, req request, msrs []MSR) error {
	var buf [1 + 2*msrBatch]uint64
	for done := 0; done < len(msrs); {
		batch := msrs[done:min(done+msrBatch, len(msrs))]
		buf[0] = uint64(len(batch))
		for i, m := range batch {
			buf[1+2*i] = uint64(m.Index)
			buf[2+2*i] = m.Value
		}
		n, err := ioctlPtr(fd, req, &buf)
		if err != nil {
			return &Error{Op: req.String(), VCPU: vcpu, Err: err}
		}
		n = min(n, len(batch))
		if req == reqGetMSRs {
			for i := range n {
				batch[i].Value = buf[2+2*i]
			}
		}
		done += n
		if n < len(batch) {
			return &MSRError{Write: req == reqSetMSRs, VCPU: vcpu, Index: batch[n].Index, Done: done}
		}
	}
	return nil
}
