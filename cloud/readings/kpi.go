package readings

import (
	"cmp"
	"context"
	"math"
	"slices"

	"gnomon/cloud/identity"
)

// KPIs say how well collection went. Values count by the time that they are of, and
// only of slots whose cycle is over; what is expected is what was desired then.
type KPIs struct {
	Policies     int     `json:"policies,omitempty"`
	Meters       int64   `json:"meters"`
	Expected     int64   `json:"expected" doc:"values that should be there: meters by slots by items"`
	Stored       int64   `json:"stored" doc:"of those, how many are"`
	Completeness float64 `json:"completeness" doc:"stored / expected"`
	FirstPass    float64 `json:"firstPass" doc:"part of expected that came in its slot, or was sent unasked"`
	BackfillGain float64 `json:"backfillGain" doc:"part of expected that came by back-fill"`
	CycleSuccess float64 `json:"cycleSuccess" doc:"part of meters by slots all of whose values had reached the node by the next slot"`

	FreshnessP95 float64  `json:"freshnessP95" doc:"seconds from the time that a value is of until the cloud had stored it, for 95 of 100 values, to within 2 percent; 0 without values"`
	Missing      []Reason `json:"missing,omitempty" doc:"values that are not there by reason, the most frequent first; not-told: nothing was said of them"`
}

// Reason is why values are missing.
type Reason struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// tally is what KPIs are made of; tallies add up.
type tally struct {
	policies                                int
	meters, expected, stored                int64
	firstPass, backfilled, cycles, complete int64
	missing                                 map[string]int64
	ages                                    [ages]int64 // values by their age when they were stored
}

// ages are classes of age, each 2 % wider than the one before, from 100 ms to more
// than a year.
const (
	ages     = 1024
	agesLog  = 0.0198026 // ln 1.02
	youngest = 100       // ms
)

func newTally() *tally { return &tally{missing: map[string]int64{}} }

func (t *tally) age(ms int64) {
	class := 0
	if ms > youngest {
		class = min(ages-1, int(math.Log(float64(ms)/youngest)/agesLog)+1)
	}
	t.ages[class]++
}

// add adds another one.
func (t *tally) add(o *tally) {
	t.policies += o.policies
	t.meters += o.meters
	t.expected += o.expected
	t.stored += o.stored
	t.firstPass += o.firstPass
	t.backfilled += o.backfilled
	t.cycles += o.cycles
	t.complete += o.complete
	for reason, n := range o.missing {
		t.missing[reason] += n
	}
	for i, n := range o.ages {
		t.ages[i] += n
	}
}

// maxReasons bounds the reasons that are listed; nodes make them up.
const maxReasons = 20

func (t *tally) kpis() KPIs {
	k := KPIs{
		Policies: t.policies, Meters: t.meters, Expected: t.expected, Stored: t.stored,
		Completeness: share(t.stored, t.expected), FirstPass: share(t.firstPass, t.expected),
		CycleSuccess: share(t.complete, t.cycles), FreshnessP95: t.percentile(0.95),
	}
	if t.expected > 0 {
		k.BackfillGain = share(t.backfilled, t.expected)
	}
	for reason, n := range t.missing {
		k.Missing = append(k.Missing, Reason{reason, n})
	}
	slices.SortFunc(k.Missing, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	k.Missing = k.Missing[:min(len(k.Missing), maxReasons)]
	return k
}

// percentile is the age, in seconds, that a part of all values has at most.
func (t *tally) percentile(part float64) float64 {
	total := int64(0)
	for _, n := range t.ages {
		total += n
	}
	if total == 0 {
		return 0
	}
	want := int64(math.Ceil(part * float64(total)))
	for class, n := range t.ages {
		if want -= n; want <= 0 {
			return math.Round(youngest*math.Exp(agesLog*float64(class))) / 1000
		}
	}
	return 0
}

// KPIs works out how collection of some policies went on a day, each by the clock
// of its own zone.
func (s *Service) KPIs(ctx context.Context, p identity.Principal, of []Policy, day string) (KPIs, error) {
	all := newTally()
	for _, policy := range of {
		_, one, err := s.completeness(ctx, p, policy, day, false)
		if err != nil {
			return KPIs{}, err
		}
		one.policies = 1
		all.add(one)
	}
	if s.cfg.Store == nil {
		return KPIs{}, ErrNoStore
	}
	return all.kpis(), nil
}
