package readings

import (
	"errors"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// failing is a disk whose writes fail once it is told to.
type failing struct{ on atomic.Bool }

func (f *failing) MaybeError(op errorfs.Op) error {
	if f.on.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileWrite) {
		return errors.New("disk failed")
	}
	return nil
}

func (f *failing) String() string { return "failing" }
