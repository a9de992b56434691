// Package kvmtest is for tests that need a real /dev/kvm: it decides whether
// they run, and has what small guests are made of.
//
// Such tests are named TestKVM... and run where GOVMD_TEST_KVM is set.
package kvmtest

import (
	"os"
	"testing"

	"govmd/internal/kvm"
)

// Open returns the host's KVM. Without GOVMD_TEST_KVM=1 in the environment the
// test is skipped; with it, a host without KVM fails the test.
func Open(t testing.TB) *kvm.System {
	t.Helper()
	if os.Getenv("GOVMD_TEST_KVM") != "1" {
		t.Skip("needs /dev/kvm: set GOVMD_TEST_KVM=1 to run it, as make test does")
	}
	sys, err := kvm.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Close() })
	if err := sys.Missing(kvm.Basics); err != nil {
		t.Fatal(err)
	}
	return sys
}
