package kvm

// MCECap returns, in the form of IA32_MCG_CAP, the machine-check abilities that
// KVM can give a vCPU.
func (s *System) MCECap() (uint64, error) {
	var value uint64
	if _, err := ioctlPtr(s.fd, reqGetMCECap, &value); err != nil {
		return 0, opError(reqGetMCECap, err)
	}
	return value, nil
}

// SetupMCE gives the vCPU machine-check banks (their number, from 1 to
// Check(CapMCE), is in bits 0-7 of mcgCap) and abilities (a subset of MCECap).
func (v *VCPU) SetupMCE(mcgCap uint64) error {
	_, err := ioctlPtr(v.fd, reqSetupMCE, &mcgCap)
	return v.fail(reqSetupMCE, err)
}

// MCE is struct kvm_x86_mce: a machine-check event.
type MCE struct {
	Status, Addr, Misc uint64
	MCGStatus          uint64
	Bank               uint8
	_                  [7]uint8
	_                  [3]uint64
}

// InjectMCE reports a machine check to the guest.
func (v *VCPU) InjectMCE(m *MCE) error {
	return transfer(v, reqSetMCE, m)
}
