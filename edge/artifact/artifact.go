package artifact

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Documented failures; test with errors.Is. All but ErrComponentNotFound and those
// of the disk are final for the content that is there.
var (
	// ErrComponentNotFound: nothing of that name is on this node. The message
	// says where it was looked for.
	ErrComponentNotFound = errors.New("component not found")
	// ErrDigestMismatch: content is not what its digest says.
	ErrDigestMismatch = errors.New("digest mismatch")
	// ErrUnsafePath: an archive tries to reach outside its tree.
	ErrUnsafePath = errors.New("unsafe path in archive")
	// ErrTooLarge: an archive exceeds a limit.
	ErrTooLarge = errors.New("archive too large")
	// ErrFormat: what is there is damaged or of a kind not supported.
	ErrFormat = errors.New("unusable component")
	// ErrDiskFull: there is no room to unpack it in, also after what nobody needs was
	// deleted. It may pass.
	ErrDiskFull = errors.New("disk full")
	// ErrDiskReadOnly: nothing can be unpacked. It may pass.
	ErrDiskReadOnly = errors.New("disk is read-only")
	// ErrReference: the reference is neither name@version nor file:///path.
	ErrReference = errors.New("bad component reference")
)

// Config of a Store.
type Config struct {
	Components string // directory looked into for name@version
	Data       string // absolute; unpacked trees are kept in Data/components

	MaxBytes   int64  // of one unpacked component; default 4 GiB
	MaxEntries int    // files and directories in its archives; default 250,000
	Arch       string // as Go names it; default this program's

	Care Care             // what must stay, and how much is kept free; default: nothing is ever deleted
	Now  func() time.Time // default time.Now
	Log  *slog.Logger     // default: discard
}

// Component is ready to run from.
type Component struct {
	Reference string
	Digest    string // "sha256:…" of its content; "" for a plain directory
	Root      string // absolute; must not be written to
	Image     Image
}

// Image is how an image wants to be run. It is empty for what is not an image.
type Image struct {
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	User       string   `json:"user,omitempty"`
}

// Store finds and unpacks components. It is safe for concurrent use; one process
// at a time may use a data directory.
type Store struct {
	cfg  Config
	sync func(dir string) error // syncTree, but in tests
	mu   sync.Mutex             // unpacks one component at a time: the disk is the bottleneck
}

// New checks the configuration. It touches nothing.
func New(cfg Config) (*Store, error) {
	if !filepath.IsAbs(cfg.Data) {
		return nil, fmt.Errorf("data directory %q is not absolute", cfg.Data)
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 4 << 30
	}
	if cfg.MaxEntries <= 0 {
		cfg.MaxEntries = 250_000
	}
	if cfg.Arch == "" {
		cfg.Arch = runtime.GOARCH
	}
	if cfg.Care == nil {
		cfg.Care = careless{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{cfg: cfg, sync: syncTree}, nil
}

// Resolve finds a component and unpacks it unless that has been done. One whose
// source is gone is what it was when it was unpacked.
func (s *Store) Resolve(ctx context.Context, component string) (Component, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, err := s.find(component)
	if errors.Is(err, ErrComponentNotFound) {
		if c, ok := s.kept(component); ok {
			s.remember(component, c.Digest)
			return c, nil
		}
	}
	if err != nil {
		return Component{}, err
	}
	c, err := s.unpackOnce(ctx, src)
	if err != nil {
		return Component{}, fmt.Errorf("component %s at %s: %w", component, src.path, named(err))
	}
	if c.Reference = component; c.Digest != "" {
		s.remember(component, c.Digest)
	}
	return c, nil
}

// source is what a reference was found to be.
type source struct {
	path string
	kind kind
	tag  string // preferred among several images
}

type kind int

const (
	plain kind = iota
	layout
	archive
)

var name = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]{0,127}@[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// find looks for what a reference names.
func (s *Store) find(component string) (source, error) {
	if path, ok := strings.CutPrefix(component, "file://"); ok {
		path, tag, _ := strings.Cut(path, "#")
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return source{}, fmt.Errorf("%w: %q: the path must be absolute and clean", ErrReference, component)
		}
		return first(component, tag, []string{path})
	}
	if !name.MatchString(component) || strings.Contains(component, "..") {
		return source{}, fmt.Errorf("%w: %q: want name@version or file:///path", ErrReference, component)
	}
	if s.cfg.Components == "" {
		return source{}, fmt.Errorf("%w: %s: this node has no components directory", ErrComponentNotFound, component)
	}
	base := filepath.Join(s.cfg.Components, filepath.FromSlash(component))
	_, version, _ := strings.Cut(component, "@")
	return first(component, version, []string{base, base + ".tar", base + ".tar.gz", base + ".tgz"})
}

func first(component, tag string, paths []string) (source, error) {
	for _, p := range paths {
		st, err := os.Stat(p)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return source{}, fmt.Errorf("component %s: %w", component, err)
		case st.Mode().IsRegular():
			return source{path: p, kind: archive, tag: tag}, nil
		case !st.IsDir():
			return source{}, fmt.Errorf("%w: %s is neither file nor directory", ErrFormat, p)
		case isLayout(p):
			return source{path: p, kind: layout, tag: tag}, nil
		default:
			return source{path: p, kind: plain}, nil
		}
	}
	return source{}, fmt.Errorf("%w: %s: there is no %s%s", ErrComponentNotFound, component, paths[0], otherwise(paths))
}

// otherwise names the endings of further paths.
func otherwise(paths []string) string {
	if len(paths) == 1 {
		return ""
	}
	var endings []string
	for _, p := range paths[1:] {
		endings = append(endings, strings.TrimPrefix(p, paths[0]))
	}
	return ", neither as it is nor with " + strings.Join(endings, ", ")
}

func isLayout(dir string) bool {
	for _, f := range []string{"oci-layout", "index.json"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return false
		}
	}
	return true
}
