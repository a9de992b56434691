package control

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// errNoTray and errLocked are outcomes of openTray that not all commands mind.
var (
	errNoTray = qmp.Errorf("the device has no tray")
	errLocked = qmp.Errorf("the tray is locked")
)

// called is what a command calls the drive.
func called(device, id *string) string {
	if device != nil {
		return *device
	}
	return text(id)
}

// openTray opens the tray, or asks the guest to if it has locked it.
func openTray(b *block.Backend, name string, force bool) error {
	if !removable(b) {
		return qmp.Errorf("Device '%s' is not removable", name)
	}
	t, ok := tray(b)
	if !ok {
		return errNoTray
	}
	if t.TrayOpen() {
		return nil
	}
	locked := t.MediumLocked()
	if locked {
		t.EjectRequest(force)
	}
	if !locked || force {
		t.MoveTray(true)
		return nil
	}
	return &qmp.Error{
		Class: qmp.ClassGeneric, Cause: errLocked,
		Desc: "Device '" + name + "' is locked and force was not specified, wait for tray to open and try again",
	}
}

// accessible refuses a drive whose medium cannot be reached.
func accessible(b *block.Backend, name string) error {
	if !removable(b) {
		return qmp.Errorf("Device '%s' is not removable", name)
	}
	if t, ok := tray(b); ok && !t.TrayOpen() {
		return qmp.Errorf("Tray of device '%s' is not open", name)
	}
	return nil
}

// removeMedium takes the medium out, if there is one.
func removeMedium(ctx context.Context, b *block.Backend, name string) error {
	if err := accessible(b, name); err != nil {
		return err
	}
	return takeOut(ctx, b, block.OperationEject)
}

// takeOut has a drive without a medium, unless what is to be done is blocked.
func takeOut(ctx context.Context, b *block.Backend, what block.Operation) error {
	n := b.Node()
	if n == nil {
		return nil
	}
	if err := n.Blocked(what); err != nil {
		return err
	}
	n.Ref() // it is undrained when the drive has let it go
	defer n.Unref()
	return Drained(ctx, n, func() error {
		b.RemoveMedium()
		return nil
	})
}

// insertMedium puts a node in.
func insertMedium(b *block.Backend, n *block.Node, name string) error {
	if err := accessible(b, name); err != nil {
		return err
	}
	if b.Inserted() {
		return qmp.Errorf("There already is a medium in device '%s'", name)
	}
	return b.InsertMedium(n)
}

type ejectArgs struct {
	Device *string `qmp:"device,deprecated"`
	ID     *string `qmp:"id"`
	Force  *bool   `qmp:"force"`
}

func (a *ejectArgs) force() bool { return a.Force != nil && *a.Force }

// eject opens the tray and takes the medium out.
func (c *Control) eject(ctx *qmp.Context, a *ejectArgs) (none qmp.None, err error) {
	b, err := c.drive(a.Device, a.ID)
	if err != nil {
		return none, err
	}
	name := called(a.Device, a.ID)
	if err := openTray(b, name, a.force()); err != nil && err != errNoTray {
		return none, err
	}
	return none, removeMedium(ctx, b, name)
}

// openTrayCommand is blockdev-open-tray, which does not mind that the guest is
// still to let the medium go.
func (c *Control) openTrayCommand(_ *qmp.Context, a *ejectArgs) (none qmp.None, err error) {
	b, err := c.drive(a.Device, a.ID)
	if err != nil {
		return none, err
	}
	if err := openTray(b, called(a.Device, a.ID), a.force()); err != nil && err != errNoTray && qmp.AsError(err).Cause != errLocked {
		return none, err
	}
	return none, nil
}

type closeTrayArgs struct {
	Device *string `qmp:"device,deprecated"`
	ID     *string `qmp:"id"`
}

// closeTray is blockdev-close-tray.
func (c *Control) closeTray(_ *qmp.Context, a *closeTrayArgs) (none qmp.None, err error) {
	b, err := c.drive(a.Device, a.ID)
	if err != nil {
		return none, err
	}
	return none, shut(b, called(a.Device, a.ID))
}

// shut closes the tray, if there is one.
func shut(b *block.Backend, name string) error {
	if !removable(b) {
		return qmp.Errorf("Device '%s' is not removable", name)
	}
	if t, ok := tray(b); ok && t.TrayOpen() {
		t.MoveTray(false)
	}
	return nil
}

type idArgs struct {
	ID string `qmp:"id"`
}

type insertArgs struct {
	ID       string `qmp:"id"`
	NodeName string `qmp:"node-name"`
}

// insert is blockdev-insert-medium.
func (c *Control) insert(_ *qmp.Context, a *insertArgs) (none qmp.None, err error) {
	b, err := c.byDevice(a.ID)
	if err != nil {
		return none, err
	}
	n := c.graph.Node(a.NodeName)
	if n == nil {
		return none, qmp.Errorf("Node '%s' not found", a.NodeName)
	}
	if inDrive(n) {
		return none, qmp.Errorf("Node '%s' is already in use", a.NodeName)
	}
	return none, insertMedium(b, n, a.ID)
}

// ReadOnlyMode is what becomes of a drive's being read-only when its medium changes.
type ReadOnlyMode string

// EnumValues implements qmp.Enum.
func (ReadOnlyMode) EnumValues() []string { return []string{"retain", "read-only", "read-write"} }

type changeMediumArgs struct {
	Device   *string       `qmp:"device,deprecated"`
	ID       *string       `qmp:"id"`
	Filename string        `qmp:"filename"`
	Format   *string       `qmp:"format"`
	Force    *bool         `qmp:"force"`
	Mode     *ReadOnlyMode `qmp:"read-only-mode"`
}

// changeMedium is blockdev-change-medium. The new medium is opened before anything
// else happens.
func (c *Control) changeMedium(ctx *qmp.Context, a *changeMediumArgs) (none qmp.None, err error) {
	b, err := c.drive(a.Device, a.ID)
	if err != nil {
		return none, err
	}
	name := called(a.Device, a.ID)
	set := b.Retained()
	switch {
	case a.Mode == nil:
	case *a.Mode == "read-only":
		set.ReadOnly = true
	case *a.Mode == "read-write":
		set.ReadOnly = false
	}
	opts := &qmp.Object{}
	if a.Format != nil {
		opts.Add("driver", *a.Format)
	}
	n, err := c.graph.OpenImage(ctx, a.Filename, opts, qmp.JSON, set)
	if err != nil {
		return none, err
	}
	defer n.Unref() // the drive has its own
	if err := openTray(b, name, a.Force != nil && *a.Force); err != nil && err != errNoTray {
		return none, err
	}
	if err := removeMedium(ctx, b, name); err != nil {
		return none, err
	}
	if err := insertMedium(b, n, name); err != nil {
		return none, err
	}
	return none, shut(b, name)
}

type changeArgs struct {
	Device string  `qmp:"device"`
	Target string  `qmp:"target"`
	Arg    *string `qmp:"arg"`
}

// change is what came before blockdev-change-medium, with the format as its
// argument. With the device "vnc" it is about the display's password.
func (c *Control) change(ctx *qmp.Context, a *changeArgs) (none qmp.None, err error) {
	if a.Device == "vnc" {
		return none, qmp.DeviceNotActive("vnc")
	}
	return c.changeMedium(ctx, &changeMediumArgs{Device: &a.Device, Filename: a.Target, Format: a.Arg})
}

func (c *Control) mediaCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("eject", c.eject),
		qmp.New("change", c.change, qmp.Deprecated),
		qmp.New("blockdev-open-tray", c.openTrayCommand),
		qmp.New("blockdev-close-tray", c.closeTray),
		qmp.New("blockdev-insert-medium", c.insert),
		qmp.New("blockdev-remove-medium", func(ctx *qmp.Context, a *idArgs) (none qmp.None, err error) {
			b, err := c.byDevice(a.ID)
			if err != nil {
				return none, err
			}
			return none, removeMedium(ctx, b, a.ID)
		}),
		qmp.New("blockdev-change-medium", c.changeMedium),
	}
}
