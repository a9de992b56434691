package blockjob

// SyncMode says what part of a disk a job copies: the type MirrorSyncMode of the
// protocol.
type SyncMode string

// What is copied.
const (
	SyncTop         SyncMode = "top"         // what the topmost image has
	SyncFull        SyncMode = "full"        // all of the disk
	SyncNone        SyncMode = "none"        // only what changes from now on
	SyncIncremental SyncMode = "incremental" // what a bitmap marks, which starts anew
	SyncBitmap      SyncMode = "bitmap"      // what a bitmap marks
)

// EnumValues implements qmp.Enum.
func (SyncMode) EnumValues() []string {
	return []string{string(SyncTop), string(SyncFull), string(SyncNone), string(SyncIncremental), string(SyncBitmap)}
}
