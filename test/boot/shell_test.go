package boot

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"path/filepath"
	"testing"

	"govmd/test/vmtest"
)

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// A socket is where a character device listens.
type socket struct{ path string }

// newSocket returns a socket and the option that makes a character device of it.
func newSocket(t *testing.T, dir, id string) (socket, []string) {
	t.Helper()
	path := filepath.Join(dir, id)
	return socket{path}, []string{"-chardev", "socket,id=" + id + ",server=on,wait=off,path=" + path}
}

func (s socket) dial(t *testing.T, vm *vmtest.VM) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if limit, ok := vm.Context().Deadline(); ok {
		if err := conn.SetDeadline(limit); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}
