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
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// keptLayers bounds the writable layers of a container: the current component's
// and the one before it, to which a rollback returns.
const keptLayers = 2

// layer gives a container its writable layer over a component's root. Each root has
// its own: what a program changed in one version of its files must not hide the next
// version's. An instance that follows one of the same root has that one's, however
// late others are by a clock that may be wrong; one that is started beside it has
// one of its own, which is that root's once it has taken over. made is the layer if
// there was none, also with an error.
func (e *Executor) layer(req *instance.Request, former found) (made string, err error) {
	sum := sha256.Sum256([]byte(req.Spec.Root))
	key := hex.EncodeToString(sum[:8])
	base := filepath.Join(e.app(req.Spec.Name), "layers")
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return modified(b).Compare(modified(a)) })
	beside, own, used := req.Spec.Former != "", key, ""
	if former.req.Upper != "" {
		used = filepath.Base(filepath.Dir(former.req.Upper))
	}
	switch i := slices.IndexFunc(entries, func(d os.DirEntry) bool { return ofRoot(d.Name(), key) }); {
	case ofRoot(used, key) && beside:
		own = key + "-" + req.Instance
	case ofRoot(used, key):
		own = used
	case i >= 0:
		own = entries[i].Name()
	}
	path := filepath.Join(base, own)
	if err := os.MkdirAll(base, 0o711); err != nil {
		return "", err
	}
	if err := os.Mkdir(path, 0o711); err == nil {
		made = path
	} else if !errors.Is(err, os.ErrExist) {
		return "", err
	}
	req.Upper, req.Work = filepath.Join(path, "upper"), filepath.Join(path, "work")
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		return made, err
	}
	var errs []error
	kept := 1
	if !beside && used != "" && used != own {
		kept++
	}
	for _, d := range entries {
		if d.Name() == own || d.Name() == used {
			continue
		}
		if !ofRoot(d.Name(), key) {
			kept++
		}
		if ofRoot(d.Name(), key) || kept > keptLayers {
			errs = append(errs, os.RemoveAll(filepath.Join(base, d.Name())))
		}
	}
	return made, errors.Join(errs...)
}

// ofRoot tells whether a layer is one over a root.
func ofRoot(layer, key string) bool {
	return layer == key || strings.HasPrefix(layer, key+"-")
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
