package chardev

import "fmt"

// Config describes a character device: its name and its back end's settings,
// one of the XxxConfig types.
type Config struct {
	ID      string
	Backend any
	Mux     bool // several front ends take turns, switched by escape sequences
}

// NullConfig is the back end "null": output is dropped, no input comes.
type NullConfig struct{}

// FileConfig is the back end "file".
type FileConfig struct {
	Out    string // output goes here
	Append bool   // rather than replacing what is there
	In     string // input comes from here; "" for none
}

// StdioConfig is the back end "stdio".
type StdioConfig struct {
	Signal bool // whether Ctrl-C and the like act on the program
}

// SocketConfig is the back end "socket".
type SocketConfig struct {
	Path      string // Unix socket; or
	Host      string // TCP
	Port      string
	IPv4Only  bool
	IPv6Only  bool
	Server    bool // listen rather than connect
	Wait      bool // a server: wait for the first client before going on
	NoDelay   bool
	Reconnect int // a client: seconds between attempts, 0 for none
}

func (cfg Config) backend() (backend, error) {
	switch b := cfg.Backend.(type) {
	case NullConfig:
		return nullBackend{}, nil
	case FileConfig:
		return &fileBackend{cfg: b}, nil
	case StdioConfig:
		return &stdioBackend{cfg: b}, nil
	case SocketConfig:
		return &socketBackend{cfg: b}, nil
	}
	return nil, fmt.Errorf("chardev '%s': no such back end", cfg.ID)
}
