package executor

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gnomon/edge/workload/instance"
)

// Uids of applications that have a user of their own: above those of people and
// services, below those of containers and their users.
const (
	firstUID = 70_000
	lastUID  = 70_999
)

// owner returns the uid of a host application that has a user of its own. It
// keeps it until it is removed, so that its data stays its own.
func (e *Executor) owner(name string) (int, error) {
	e.owners.Lock()
	defer e.owners.Unlock()
	if uid, ok := e.owned(name); ok {
		return uid, nil
	}
	taken, err := e.taken()
	if err != nil {
		return 0, err
	}
	for uid := firstUID; uid <= lastUID; uid++ {
		if taken[uid] {
			continue
		}
		if err := os.MkdirAll(e.app(name), 0o711); err != nil {
			return 0, err
		}
		return uid, e.own(name, uid)
	}
	return 0, fmt.Errorf("run.user own: all uids from %d to %d are taken", firstUID, lastUID)
}

// own notes whose a uid is, durably: another one would be a stranger to the data.
func (e *Executor) own(name string, uid int) error {
	fresh := filepath.Join(e.app(name), ".uid")
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(uid) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, e.uidFile(name)); err != nil {
		return err
	}
	return instance.SyncDir(e.app(name))
}

func (e *Executor) uidFile(name string) string { return filepath.Join(e.app(name), "uid") }

// owned reads the uid of an application. One that is out of bounds, as half a
// file would be, counts as none.
func (e *Executor) owned(name string) (uid int, ok bool) {
	b, err := os.ReadFile(e.uidFile(name))
	if err != nil {
		return 0, false
	}
	uid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return uid, err == nil && uid >= firstUID && uid <= lastUID
}

// taken are the uids of other applications, and of users of the node.
func (e *Executor) taken() (map[int]bool, error) {
	taken := map[int]bool{}
	entries, err := os.ReadDir(filepath.Join(e.cfg.Data, "apps"))
	if err != nil {
		return nil, err
	}
	for _, d := range entries {
		if uid, ok := e.owned(d.Name()); ok {
			taken[uid] = true
		}
	}
	for _, file := range []string{"/etc/passwd", "/etc/group"} {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if fields := strings.Split(lines.Text(), ":"); len(fields) > 2 {
				if id, err := strconv.Atoi(fields[2]); err == nil {
					taken[id] = true
				}
			}
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return taken, nil
}
