package executor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// keptLayers bounds the writable layers of a container: the current component's
// and the one before it, to which a rollback returns.
const keptLayers = 2

// layer returns the writable layer of a container over a component's root. Each
// root has its own: what a program changed in one version of its files must not
// hide the next version's. An instance that is started beside one of the same root
// has one of its own, which is that root's from then on.
func (e *Executor) layer(spec workload.Spec, id string, beside *found) (string, error) {
	sum := sha256.Sum256([]byte(spec.Root))
	key := hex.EncodeToString(sum[:8])
	base := filepath.Join(e.app(spec.Name), "layers")
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return modified(b).Compare(modified(a)) })
	own, used := key, ""
	if i := slices.IndexFunc(entries, func(d os.DirEntry) bool { return ofRoot(d, key) }); i >= 0 {
		own = entries[i].Name()
	}
	if beside != nil {
		used = filepath.Base(filepath.Dir(beside.req.Upper))
	}
	if own == used {
		own = key + "-" + id
	}
	path := filepath.Join(base, own)
	if err := os.MkdirAll(path, 0o711); err != nil {
		return "", err
	}
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		return "", err
	}
	var errs []error
	kept := 1
	for _, d := range entries {
		if d.Name() == own || d.Name() == used {
			continue
		}
		if kept++; ofRoot(d, key) || kept > keptLayers {
			errs = append(errs, os.RemoveAll(filepath.Join(base, d.Name())))
		}
	}
	return path, errors.Join(errs...)
}

// ofRoot tells whether a layer is one over a root.
func ofRoot(d os.DirEntry, key string) bool {
	return d.Name() == key || strings.HasPrefix(d.Name(), key+"-")
}

func modified(d os.DirEntry) time.Time {
	info, err := d.Info()
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func valid(name string) error {
	if !schema.ValidName(name) {
		return fmt.Errorf("%w: name %q must be %s", workload.ErrInvalid, name, schema.NameRule)
	}
	return nil
}
