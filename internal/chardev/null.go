package chardev

// nullBackend takes output and gives no input.
type nullBackend struct{}

func (nullBackend) start(c *Chardev) error {
	c.discard = true
	c.setConnected(true)
	return nil
}

func (nullBackend) stop()            {}
func (nullBackend) describe() string { return "null" }
