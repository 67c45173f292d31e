package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// LogQuery is which part of an application's log is asked for.
type LogQuery struct {
	Tail   int       // the last lines; negative: all there are
	Since  time.Time // written from then on, as far as that is known; zero: whenever
	Follow bool      // and what is written from now on
}

// Limits of reading logs.
const (
	followEvery = 250 * time.Millisecond
	maxLog      = 64 << 20 // bytes read of what there is
	logPiece    = 32 << 10
)

// Log writes what is asked for of the log at path to w; begin tells from where
// its current file is younger than a moment, and may be nil.
func Log(ctx context.Context, w io.Writer, path string, q LogQuery, begin Begin) error {
	files := rotated(path)
	if len(files) == 0 && !q.Follow {
		return fmt.Errorf("%w: nothing was written to %s yet", fs.ErrNotExist, path)
	}
	at, err := existing(w, files, q, begin)
	if err != nil || !q.Follow {
		return err
	}
	return follow(ctx, w, path, at)
}

// rotated lists the files of a log, the oldest first.
func rotated(path string) (files []string) {
	for i := 0; ; i++ {
		name := path
		if i > 0 {
			name += "." + strconv.Itoa(i)
		}
		if _, err := os.Stat(name); err != nil {
			return files
		}
		files = append([]string{name}, files...)
	}
}

// position is how far a file has been read.
type position struct {
	inode  uint64
	offset int64
}

// existing writes what there is, and tells how far the current file was read.
func existing(w io.Writer, files []string, q LogQuery, begin Begin) (at position, err error) {
	var text bytes.Buffer
	room := int64(maxLog)
	for _, name := range files {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // rotated away
		}
		if err != nil {
			return at, err
		}
		st, err := f.Stat()
		if err == nil {
			at = position{inode: inodeOf(st)}
			if at.offset = startOf(st, q.Since, begin); at.offset > 0 {
				_, err = f.Seek(at.offset, io.SeekStart)
			}
		}
		var n int64
		if err == nil {
			n, err = io.Copy(&text, io.LimitReader(f, min(room, max(0, st.Size()-at.offset))))
		}
		f.Close()
		if err != nil {
			return at, err
		}
		at.offset, room = at.offset+n, room-n
	}
	_, err = w.Write(lastLines(text.Bytes(), q.Tail))
	return at, err
}

// startOf is from where a file is of interest.
func startOf(st fs.FileInfo, since time.Time, begin Begin) int64 {
	switch {
	case since.IsZero():
		return 0
	case st.ModTime().Before(since):
		return st.Size()
	case begin != nil:
		return min(begin(inodeOf(st), since), st.Size())
	}
	return 0
}

func inodeOf(st fs.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}

// lastLines are the last n lines of a text; all of it if n is negative.
func lastLines(text []byte, n int) []byte {
	if n < 0 {
		return text
	}
	end := len(text)
	if end > 0 && text[end-1] == '\n' {
		end--
	}
	for i := end; ; {
		if n == 0 {
			return text[min(i+1, len(text)):]
		}
		if i = bytes.LastIndexByte(text[:i], '\n'); i < 0 {
			return text
		}
		n--
	}
}

// follow writes what is added, across rotations, until ctx ends.
func follow(ctx context.Context, w io.Writer, path string, at position) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	out := bufio.NewWriterSize(w, logPiece)
	for {
		var err error
		if at, err = further(out, path, at); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if f, ok := w.(interface{ FlushError() error }); ok {
			if err := f.FlushError(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// further writes what was added since, the end of a file that was rotated first.
func further(w io.Writer, path string, at position) (position, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	if ino := inodeOf(st); ino != at.inode {
		if before, err := os.Stat(path + ".1"); err == nil && inodeOf(before) == at.inode {
			if _, err := copyFrom(w, path+".1", at); err != nil {
				return at, err
			}
		}
		at = position{inode: ino}
	}
	if st.Size() < at.offset { // it was cut
		at.offset = 0
	}
	if st.Size() == at.offset {
		return at, nil
	}
	return copyFrom(w, path, at)
}

func copyFrom(w io.Writer, name string, at position) (position, error) {
	f, err := os.Open(name)
	if err != nil {
		return at, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || inodeOf(st) != at.inode {
		return at, err // rotated in between: the next look finds it
	}
	if _, err := f.Seek(at.offset, io.SeekStart); err != nil {
		return at, err
	}
	n, err := io.Copy(w, f)
	at.offset += n
	return at, err
}

// logs serves a log as text.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	q, err := logQuery(r)
	if err == nil {
		err = s.known(name)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	// A log that is followed has no end; each piece of it has its time.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = Log(r.Context(), &pieces{w, control}, s.cfg.LogPath(name), q, s.marks.begin(name)) // there is nobody to tell
}

func logQuery(r *http.Request) (q LogQuery, err error) {
	v := r.URL.Query()
	q = LogQuery{Tail: -1, Follow: v.Get("follow") == "true"}
	if t := v.Get("tail"); t != "" {
		if q.Tail, err = strconv.Atoi(t); err != nil {
			return q, bad("invalid", "tail is "+strconv.Quote(t)+"; it must be a number of lines", "")
		}
	}
	if t := v.Get("since"); t != "" {
		if q.Since, err = time.Parse(time.RFC3339, t); err != nil {
			return q, bad("invalid", "since is "+strconv.Quote(t)+"; it must be a time as in RFC 3339", "")
		}
	}
	return q, nil
}

// pieces gives every write its time.
type pieces struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (p *pieces) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	return p.w.Write(b)
}

func (p *pieces) FlushError() error { return p.control.Flush() }

// Begin tells from which byte on a file, by its inode, was written after a moment.
type Begin func(inode uint64, since time.Time) int64

// Limits of marks.
const (
	markEvery = 5 * time.Second
	maxMarks  = 2048 // of one application; beyond, every second one of the older half goes
)

// marks remembers how long logs were when, as their lines have no time of their
// own: since the agent's start, to within markEvery.
type marks struct {
	mu    sync.Mutex
	byApp map[string][]mark
}

type mark struct {
	at    time.Time
	inode uint64
	size  int64
}

// run looks at the logs until ctx ends.
func (m *marks) run(ctx context.Context, apps func() []string, path func(string) string) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		m.look(time.Now(), apps(), path)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *marks) look(now time.Time, apps []string, path func(string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := make(map[string][]mark, len(apps))
	for _, app := range apps {
		known := m.byApp[app]
		if st, err := os.Stat(path(app)); err == nil {
			one := mark{now, inodeOf(st), st.Size()}
			if n := len(known); n == 0 || known[n-1].inode != one.inode || known[n-1].size != one.size {
				known = append(known, one)
			}
		}
		next[app] = thinned(known)
	}
	m.byApp = next
}

func thinned(all []mark) []mark {
	if len(all) <= maxMarks {
		return all
	}
	out := make([]mark, 0, maxMarks)
	for i, one := range all {
		if i > len(all)/2 || i%2 == 0 {
			out = append(out, one)
		}
	}
	return out
}

// begin is Begin for the log of an application: 0 where that isn't known.
func (m *marks) begin(app string) Begin {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := append([]mark(nil), m.byApp[app]...)
	return func(inode uint64, since time.Time) (from int64) {
		for _, one := range known {
			if one.inode == inode && !one.at.After(since) {
				from = one.size
			}
		}
		return from
	}
}
