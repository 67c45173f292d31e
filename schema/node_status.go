package schema

// Members of what a node, or an application, reports of itself beside what it
// mirrors.
const (
	UsageMember        = "usage"        // of both: what it uses
	ActiveAlarmsMember = "activeAlarms" // of a node: the alarms that are raised, by name
	AlarmHistoryMember = "alarmHistory" // of a node: the last ones that were cleared, by number
	ReadinessMember    = "readiness"    // of a node: whether it can go on without the cloud
	ReadingStoreMember = "readingStore" // of a node: how what it collects is kept
)
