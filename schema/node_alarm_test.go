package schema

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseNode_DefaultsOfCare(t *testing.T) {
	n, err := ParseNode([]byte(`{"alarms":[{"name":"hot","metric":"memory","above":"80%"},{"name":"big","of":"application:web","metric":"cpu","above":"500m","clear":0.25,"for":"1m","severity":"critical","action":"restart"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if n.Sampling.Interval.D() != 15*time.Second || n.Sampling.Disk.D() != 5*time.Minute || n.Sampling.Report.D() != time.Minute || n.Sampling.DeadBand.String() != "10%" {
		t.Errorf("%+v", n.Sampling)
	}
	hot, big := n.Alarms[0], n.Alarms[1]
	if hot.Of != OfNode || hot.Application() != "" || hot.Clear.Of(1000) != 720 || hot.Above.Of(1000) != 800 || hot.Severity != SeverityWarning || hot.Action != ActionNone {
		t.Errorf("%+v", hot)
	}
	if big.Application() != "web" || big.Above.Of(8) != 0.5 || big.Clear.Of(8) != 0.25 || big.For.D() != time.Minute {
		t.Errorf("%+v", big)
	}
	if d := n.Disk; d.CollectBelow.Of(100) != 15 || d.CollectUntil.Of(100) != 20 || d.Reserved(100) != 5 || d.Reserved(1<<40) != float64(ReserveMost) {
		t.Errorf("%+v", d)
	}
	if n, err = ParseNode([]byte(`{"disk":{"reserve":"1Gi"}}`)); err != nil || n.Disk.Reserved(1<<40) != 1<<30 {
		t.Errorf("%+v %v", n, err)
	}
}

func TestParseNode_RefusesAlarmsThatMakeNoSense(t *testing.T) {
	alarm := func(members string) string { return `{"alarms":[{"name":"a",` + members + `}]}` }
	for text, want := range map[string]string{
		`{"alarms":[{"metric":"cpu","above":1}]}`:                                                    "node.alarms[0].name: must be 1 to 48",
		`{"alarms":[{"name":"a","metric":"cpu","above":1},{"name":"a","metric":"cpu","above":1}]}`:   "node.alarms[1].name: is given twice",
		alarm(`"metric":"heat","above":1`):                                                           "must be cpu, memory, pids, disk, inodes, io or network",
		alarm(`"metric":"cpu"`):                                                                      "node.alarms[0].above: must be given: cores",
		alarm(`"metric":"cpu","above":"64Mi"`):                                                       `above: cpu is measured in cores such as "500m" or 1.5, or a percentage (value 64Mi)`,
		alarm(`"metric":"memory","above":"500m"`):                                                    "memory is measured in bytes",
		alarm(`"metric":"network","above":"80%"`):                                                    "network is measured in bytes per second",
		alarm(`"metric":"memory","above":"80%","clear":"80%"`):                                       "clear: must be lower than above (value 80%, limit 80%)",
		alarm(`"metric":"memory","above":"80%","clear":"64Mi"`):                                      "clear: must be a percentage if above is one",
		alarm(`"metric":"memory","above":"100%"`):                                                    "above: can never be exceeded",
		alarm(`"metric":"memory","above":"80%","of":"app:web"`):                                      `of: must be "node" or "application:NAME" (value app:web)`,
		alarm(`"metric":"inodes","above":"80%","of":"application:web"`):                              "metric: is measured of the node only",
		alarm(`"metric":"memory","above":"80%","action":"stop"`):                                     `action: needs of: "application:NAME"`,
		alarm(`"metric":"memory","above":"80%","action":"explode"`):                                  "action: must be none, restart, stop or defer-updates",
		alarm(`"metric":"memory","above":"80%","severity":"grave"`):                                  "severity: must be info, warning or critical",
		alarm(`"metric":"memory","above":"80%","for":"25h"`):                                         "for: must be from 0s to 24h0m0s",
		alarm(`"metric":"memory","above":"a lot"`):                                                   `"a lot" is no level; write it as a number, "80%", "64Mi" or "500m"`,
		alarm(`"metric":"memory","above":"-5%"`):                                                     "is no level",
		`{"alarms":[` + strings.Repeat(`{"name":"a","metric":"cpu","above":1},`, MaxAlarms) + `{}]}`: "node.alarms: too many alarms (value 33, limit 32)",
		`{"sampling":{"interval":"10ms"}}`:                                                           "node.sampling.interval: must be from 1s to 1h0m0s",
		`{"sampling":{"deadBand":5}}`:                                                                "node.sampling.deadBand: must be a percentage",
		`{"disk":{"collectBelow":"15%"}}`:                                                            "node.disk.collectUntil: must be given with collectBelow",
		`{"disk":{"collectBelow":"15%","collectUntil":"10%"}}`:                                       "node.disk.collectUntil: must not be less than collectBelow",
		`{"disk":{"collectBelow":"1Gi","collectUntil":"10%"}}`:                                       "node.disk.collectUntil: must be a percentage if collectBelow is one",
		`{"disk":{"reserve":"95%"}}`:                                                                 "node.disk.reserve: must be at most 90%",
	} {
		_, err := ParseNode([]byte(text))
		var refused *Error
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

func TestLevel(t *testing.T) {
	for text, want := range map[string]float64{`80`: 80, `"80"`: 80, `"1.5"`: 1.5, `"500m"`: 0.5, `"64Mi"`: 64 << 20, `"1k"`: 1000, `0`: 0} {
		var l Level
		if err := json.Unmarshal([]byte(text), &l); err != nil || l.Value != want || l.Percent || l.IsZero() {
			t.Errorf("%s: %+v %v", text, l, err)
		}
		again, err := json.Marshal(l)
		var back Level
		if err != nil || json.Unmarshal(again, &back) != nil || back != l {
			t.Errorf("%s became %s (%v)", text, again, err)
		}
	}
}

func TestParseApplication_QuotaOfDisk(t *testing.T) {
	a, err := ParseApplication([]byte(`{"component":"a@1","run":{"resources":{"disk":"2Gi"}}}`))
	if err != nil || a.Run.Resources.Disk != 2<<30 {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := ParseApplication([]byte(`{"component":"a@1","run":{"resources":{"disk":"10k"}}}`)); err == nil || !strings.Contains(err.Error(), "run.resources.disk: is too little") {
		t.Error(err)
	}
}
