package main

// What the two sides say to each other: JSON messages over one mux connection,
// and streams for the bytes.

const (
	// portName is the name of the virtio-serial port between the two sides.
	portName = "org.govmd.nested"
	// The mount tags of the two shared folders.
	rootTag, scratchTag = "root", "scratch"
	// scratchDir is where the scratch folder is inside.
	scratchDir = "/scratch"
	// modulesList is the file in the initramfs that lists the modules to load,
	// in order, an empty line between those for the root file system and the rest.
	modulesList = "/modules/order"
)

// Streams. From streamForward on, each is one forwarded connection.
const (
	streamIn = iota
	streamOut
	streamErr
	streamForward
)

// A message has one member set.
type message struct {
	Start  *startMessage  `json:",omitempty"` // to the guest, first of all
	Ready  *readyMessage  `json:",omitempty"` // from the guest, before it starts the command
	Exit   *exitMessage   `json:",omitempty"` // from the guest, after all output
	Signal *int           `json:",omitempty"` // to the guest, for the command's process group
	Size   *windowSize    `json:",omitempty"` // to the guest, the terminal's new size
	Open   *openMessage   `json:",omitempty"` // to the guest, a new forwarded connection
	Failed *failedMessage `json:",omitempty"` // from the guest: it could not get that far
}

type startMessage struct {
	Argv    []string
	Env     []string
	Dir     string
	TTY     bool
	Size    windowSize
	Modules string // folder of the kernel's modules, below the host's root
	Release string
}

type readyMessage struct {
	Uptime float64 // seconds since the nested kernel started
}

type exitMessage struct {
	Status int
	Error  string `json:",omitempty"` // why the command could not be started
}

type windowSize struct {
	Rows, Cols uint16
}

type openMessage struct {
	Stream uint32
	Path   string
}

type failedMessage struct {
	Error string
}
