package loop

import (
	"maps"
	"slices"

	"gnomon/edge/collect"
	"gnomon/shadow"
)

// firstMissing is how many meters are named for each reason why something is missing.
const firstMissing = 5

// missingOf counts the meters of which something is missing, by the reason that
// comes first, and names some; nil when nothing is.
func missingOf(all map[string]map[string]collect.Reading) *shadow.Value {
	byReason := map[string][]string{}
	for _, meter := range slices.Sorted(maps.Keys(all)) {
		reason := ""
		for _, r := range all[meter] {
			if r.Quality != collect.Good && (reason == "" || r.Reason < reason) {
				reason = r.Reason
			}
		}
		if reason != "" {
			byReason[reason] = append(byReason[reason], meter)
		}
	}
	if len(byReason) == 0 {
		return nil
	}
	var members []shadow.Member
	for reason, meters := range byReason {
		first := make([]*shadow.Value, 0, firstMissing)
		for _, m := range meters[:min(len(meters), firstMissing)] {
			first = append(first, shadow.Text(m))
		}
		members = append(members, shadow.Member{Key: reason, Value: shadow.NewObject(
			shadow.Member{Key: "meters", Value: shadow.Int(int64(len(meters)))}, shadow.Member{Key: "first", Value: shadow.NewArray(first...)})})
	}
	return shadow.NewObject(members...)
}

// taskOf is what 6034 and 6035 of DL/T 698.45 say of a task.
func taskOf(t collect.Task) *shadow.Value {
	if t.State == "" {
		return nil
	}
	return shadow.NewObject(
		shadow.Member{Key: "state", Value: shadow.Text(string(t.State))},
		shadow.Member{Key: "start", Value: moment(t.Start)},
		shadow.Member{Key: "end", Value: moment(t.End)},
		shadow.Member{Key: "meters", Value: shadow.Int(int64(t.Meters))},
		shadow.Member{Key: "success", Value: shadow.Int(int64(t.Success))},
		shadow.Member{Key: "sent", Value: shadow.Int(int64(t.Sent))},
		shadow.Member{Key: "received", Value: shadow.Int(int64(t.Received))})
}

// fillingOf is how back-fill goes.
func fillingOf(f *collect.Filling) *shadow.Value {
	if f == nil {
		return nil
	}
	members := []shadow.Member{
		{Key: "at", Value: moment(f.At)},
		{Key: "rounds", Value: shadow.Uint(f.Rounds)},
		{Key: "open", Value: shadow.Flag(f.Open)},
		{Key: "points", Value: shadow.Uint(f.Points)},
		{Key: "noData", Value: shadow.Uint(f.NoData)},
		{Key: "left", Value: shadow.Int(int64(f.Left))},
		{Key: "silent", Value: shadow.Int(int64(f.Silent))},
		{Key: "sent", Value: shadow.Uint(f.Sent)},
		{Key: "received", Value: shadow.Uint(f.Received)},
	}
	if f.Error != "" {
		members = append(members, shadow.Member{Key: "error", Value: shadow.Text(clip(f.Error))})
	}
	return shadow.NewObject(members...)
}
