package kvm

// Closing reports whether Close has begun.
func (t *Thread) Closing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closing
}

// ListsGrowingFrom are the lists that KVM fills, asked for with room for so many.
func ListsGrowingFrom(s *System, cpuid, msrs int) ([]CPUIDEntry, []uint32, error) {
	entries, err := growCPUID(s.fd, reqGetSupportedCPUID, cpuid)
	if err != nil {
		return nil, nil, err
	}
	list, err := growIndexList(s.fd, reqGetMSRIndexList, msrs)
	return entries, list, err
}
