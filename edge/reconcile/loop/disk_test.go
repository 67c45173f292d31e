package loop

import (
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/state"
)

// What is wrong with the disk is in the node's own shadow, and gone from there
// once it is right again.
func TestLoop_ReportsTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot()
		defer w.shutdown()
		w.want("", 1, `{}`)
		w.says("", map[string]string{"node.store": ""})
		w.disk.set(state.Health{SetAside: 2, Records: []string{"desired-app%3aweb", "node-epoch"},
			Fault: &state.Fault{Code: state.CodeFull, Message: "no space left on device", Since: time.Unix(7, 0)}})
		w.want("", 2, `{}`)
		w.says("", map[string]string{
			"node.store.setAside": "2", "node.store.records": `["desired-app%3aweb","node-epoch"]`,
			"node.store.error": `{"at":"1970-01-01T00:00:07Z","code":"store-full","message":"no space left on device","retryable":true}`,
		})
		if s := w.loop.Status().Store; s.SetAside != 2 || s.Error.Code != state.CodeFull {
			t.Errorf("%+v", s)
		}
		w.disk.set(state.Health{})
		w.want("", 3, `{}`)
		w.says("", map[string]string{"node.store": ""})
	})
}
