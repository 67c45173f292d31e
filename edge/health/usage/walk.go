package usage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of one look at a directory tree.
const (
	MaxEntries = 200_000 // looked at; what is beyond is not counted, and the result says so
	maxLinked  = 10_000  // files of several names remembered, to count them once
	portion    = 256     // entries between two rests
	restFactor = 9       // times as long as it worked it rests
)

// turn is how long it works between two rests at the least.
const turn = 2 * time.Millisecond

// Walker counts what files take on disk.
type Walker struct {
	Entries int                                                   // default MaxEntries
	Rest    func(ctx context.Context, worked time.Duration) error // default: sleeps nine times as long
	busy    time.Duration
}

// Busy returns how long all walks so far have worked, without their rests.
func (w *Walker) Busy() time.Duration { return w.busy }

// walk is one walk under way.
type walk struct {
	*Walker
	left    int // entries
	device  uint64
	linked  map[uint64]bool // inodes counted, of those with several names
	bytes   int64
	partial bool
	began   time.Time
}

// Measure returns the bytes that a file, or all below a directory, takes on its
// disk. What is not there takes none. partial tells that there is more.
func (w *Walker) Measure(ctx context.Context, path string) (bytes int64, partial bool, err error) {
	if w.Entries <= 0 {
		w.Entries = MaxEntries
	}
	if w.Rest == nil {
		w.Rest = rest
	}
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0, false, ctx.Err()
	}
	k := &walk{Walker: w, left: w.Entries, device: st.Dev, linked: map[uint64]bool{}, began: time.Now()}
	k.bytes = st.Blocks * 512
	var dirs []string
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		dirs = []string{path}
	}
	for len(dirs) > 0 && !k.partial {
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		if dirs, err = k.directory(ctx, dir, dirs); err != nil {
			break
		}
	}
	w.busy += time.Since(k.began)
	return k.bytes, k.partial, err
}

// directory counts the entries of one directory and appends those that are
// directories themselves.
func (k *walk) directory(ctx context.Context, dir string, dirs []string) ([]string, error) {
	// A link that has taken the directory's place since is not followed.
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return dirs, ctx.Err() // gone meanwhile, or not ours to read
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	for {
		names, err := f.Readdirnames(min(portion, k.left+1))
		for _, name := range names {
			if k.left--; k.left < 0 {
				k.partial = true
				return dirs, nil
			}
			if k.entry(fd, name) {
				dirs = append(dirs, filepath.Join(dir, name))
			}
		}
		if err != nil { // the end, mostly
			return dirs, ctx.Err()
		}
		worked := time.Since(k.began)
		if worked < turn {
			continue
		}
		k.busy += worked
		if err := k.Rest(ctx, worked); err != nil {
			return dirs, err
		}
		k.began = time.Now()
	}
}

// entry counts one and tells whether it is a directory to go into.
func (k *walk) entry(dir int, name string) bool {
	var st unix.Stat_t
	if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != k.device {
		return false
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir && st.Nlink > 1 {
		if k.linked[st.Ino] {
			return false
		}
		if len(k.linked) < maxLinked {
			k.linked[st.Ino] = true
		}
	}
	k.bytes += st.Blocks * 512
	return isDir
}

func rest(ctx context.Context, worked time.Duration) error {
	timer := time.NewTimer(worked * restFactor)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
