package wire

// The application units, by their first byte.
const (
	LinkRequest         = 0x01
	ConnectRequest      = 0x02
	ReleaseRequest      = 0x03
	GetRequest          = 0x05
	SetRequest          = 0x06
	ActionRequest       = 0x07
	ReportResponse      = 0x08
	ProxyRequest        = 0x09
	SecurityRequest     = 0x10
	ErrorRequest        = 0x6e
	LinkResponse        = 0x81
	ConnectResponse     = 0x82
	ReleaseResponse     = 0x83
	ReleaseNotification = 0x84
	GetResponse         = 0x85
	SetResponse         = 0x86
	ActionResponse      = 0x87
	ReportNotification  = 0x88
	ProxyResponse       = 0x89
	SecurityResponse    = 0x90
	ErrorResponse       = 0xee
)

// The kinds of GET, in requests and responses.
const (
	GetNormal     = 1
	GetNormalList = 2
	GetRecord     = 3
	GetRecordList = 4
	GetNext       = 5
	GetMD5        = 6
)

var (
	getResult    = choice(alt(0, "dar", dar), alt(1, "data", data))
	resultNormal = sequence(f("oad", oad), f("result", getResult))
	resultRecord = sequence(f("oad", oad), f("columns", rcsd), f("result", choice(alt(0, "dar", dar), alt(1, "rows", list(row)))))
	getRecord    = sequence(f("oad", oad), f("select", rsd), f("columns", rcsd))

	setItem        = sequence(f("oad", oad), f("data", data))
	setThenGetItem = sequence(f("oad", oad), f("data", data), f("getOAD", oad), f("delay", u8))
	setDone        = sequence(f("oad", oad), f("dar", dar))
	setThenGetDone = sequence(f("oad", oad), f("dar", dar), f("get", resultNormal))
	actItem        = sequence(f("omd", omd), f("data", data))
	actThenGetItem = sequence(f("omd", omd), f("data", data), f("getOAD", oad), f("delay", u8))
	actDone        = sequence(f("omd", omd), f("dar", dar), f("data", optional(data)))
	actThenGetDone = sequence(f("omd", omd), f("dar", dar), f("data", optional(data)), f("get", resultNormal))

	timeTag      = optional(sequence(f("sent", dateTimeS), f("allowedDelay", ti)))
	followReport = optional(choice(alt(1, "normal-list", list(resultNormal)), alt(2, "record-list", list(resultRecord))))
)

// client and server units carry the options of their side behind the service.
func client(service *form) *form { return sequence(f("request", service), f("timeTag", timeTag)) }
func server(service *form) *form {
	return sequence(f("response", service), f("followReport", followReport), f("timeTag", timeTag))
}

// with puts the number of the service before what it says.
func with(fields ...field) *form { return sequence(append([]field{f("piid", piid)}, fields...)...) }

// per is what proxies are asked of each of several servers.
func per(item *form) *form {
	return with(f("timeout", u16), f("servers", list(sequence(f("server", tsa), f("timeout", u16), f("items", list(item))))))
}

// of is what proxies answer of each of several servers.
func of(item *form) *form {
	return with(f("servers", list(sequence(f("server", tsa), f("results", list(item))))))
}

var getRequest = choice(
	alt(GetNormal, "normal", with(f("oad", oad))), alt(GetNormalList, "normal-list", with(f("oads", list(oad)))),
	alt(GetRecord, "record", with(f("record", getRecord))), alt(GetRecordList, "record-list", with(f("records", list(getRecord)))),
	alt(GetNext, "next", with(f("received", u16))), alt(GetMD5, "md5", with(f("oad", oad))))

var getResponse = choice(
	alt(GetNormal, "normal", with(f("result", resultNormal))), alt(GetNormalList, "normal-list", with(f("results", list(resultNormal)))),
	alt(GetRecord, "record", with(f("result", resultRecord))), alt(GetRecordList, "record-list", with(f("results", list(resultRecord)))),
	alt(GetNext, "next", with(f("last", boolean), f("part", u16), f("results",
		choice(alt(0, "dar", dar), alt(1, "normal-list", list(resultNormal)), alt(2, "record-list", list(resultRecord)))))),
	alt(GetMD5, "md5", with(f("oad", oad), f("result", choice(alt(0, "dar", dar), alt(1, "md5", octetString))))))

var setRequest = choice(
	alt(1, "normal", with(f("item", setItem))), alt(2, "normal-list", with(f("items", list(setItem)))),
	alt(3, "then-get", with(f("items", list(setThenGetItem)))))

var setResponse = choice(
	alt(1, "normal", with(f("result", setDone))), alt(2, "normal-list", with(f("results", list(setDone)))),
	alt(3, "then-get", with(f("results", list(setThenGetDone)))))

var actionRequest = choice(
	alt(1, "normal", with(f("item", actItem))), alt(2, "normal-list", with(f("items", list(actItem)))),
	alt(3, "then-get", with(f("items", list(actThenGetItem)))))

var actionResponse = choice(
	alt(1, "normal", with(f("result", actDone))), alt(2, "normal-list", with(f("results", list(actDone)))),
	alt(3, "then-get", with(f("results", list(actThenGetDone)))))

var reportNotification = choice(
	alt(1, "normal-list", with(f("results", list(resultNormal)))), alt(2, "record-list", with(f("results", list(resultRecord)))),
	alt(3, "transparent", with(f("oad", oad), f("data", octetString))))

var reportResponse = choice(
	alt(1, "normal-list", with(f("oads", list(oad)))), alt(2, "record-list", with(f("oads", list(oad)))), alt(3, "transparent", with()))

var proxyRequest = choice(
	alt(1, "get-list", per(oad)),
	alt(2, "get-record", with(f("timeout", u16), f("server", tsa), f("record", getRecord))),
	alt(3, "set-list", per(setItem)), alt(4, "set-then-get", per(setThenGetItem)),
	alt(5, "action-list", per(actItem)), alt(6, "action-then-get", per(actThenGetItem)),
	alt(7, "transparent", with(f("port", oad), f("settings", comdcb), f("timeout", u16), f("byteTimeout", u16), f("command", octetString))))

var proxyResponse = choice(
	alt(1, "get-list", of(resultNormal)), alt(2, "get-record", with(f("server", tsa), f("result", resultRecord))),
	alt(3, "set-list", of(setDone)), alt(4, "set-then-get", of(setThenGetDone)),
	alt(5, "action-list", of(actDone)), alt(6, "action-then-get", of(actThenGetDone)),
	alt(7, "transparent", with(f("port", oad), f("result", choice(alt(0, "dar", dar), alt(1, "answer", octetString))))))

var pair = sequence(f("data", octetString), f("signature", octetString))

var connectRequest = with(
	f("version", u16), f("protocolConformance", octets(8)), f("functionConformance", octets(16)),
	f("sendMax", u16), f("receiveMax", u16), f("receiveWindow", u8), f("apduMax", u16), f("timeout", u32),
	f("mechanism", choice(alt(0, "none", null), alt(1, "password", scalar(VisibleString)), alt(2, "symmetric", pair), alt(3, "signature", pair))))

var connectResponse = with(
	f("manufacturer", octets(32)), f("version", u16), f("protocolConformance", octets(8)), f("functionConformance", octets(16)),
	f("sendMax", u16), f("receiveMax", u16), f("receiveWindow", u8), f("apduMax", u16), f("timeout", u32),
	f("result", enum), f("security", optional(sequence(f("rn", rn), f("signature", octetString)))))

var securityRequest = sequence(
	f("unit", choice(alt(0, "plain", octetString), alt(1, "cipher", octetString))),
	f("verification", choice(alt(0, "sid-mac", sidMAC), alt(1, "rn", rn), alt(2, "rn-mac", sequence(f("rn", rn), f("mac", mac))), alt(3, "sid", sid))))

var securityResponse = sequence(
	f("unit", choice(alt(0, "plain", octetString), alt(1, "cipher", octetString), alt(2, "dar", dar))),
	f("verification", optional(choice(alt(0, "mac", mac)))))

// unit is any APDU.
var unit = choice(
	alt(LinkRequest, "link-request", with(f("kind", enum), f("heartbeat", u16), f("sent", dateTime))),
	alt(LinkResponse, "link-response", with(f("result", u8), f("sent", dateTime), f("received", dateTime), f("answered", dateTime))),
	alt(ConnectRequest, "connect-request", client(connectRequest)), alt(ConnectResponse, "connect-response", server(connectResponse)),
	alt(ReleaseRequest, "release-request", client(with())), alt(ReleaseResponse, "release-response", server(with(f("result", enum)))),
	alt(ReleaseNotification, "release-notification", server(with(f("connected", dateTimeS), f("now", dateTimeS)))),
	alt(GetRequest, "get-request", client(getRequest)), alt(GetResponse, "get-response", server(getResponse)),
	alt(SetRequest, "set-request", client(setRequest)), alt(SetResponse, "set-response", server(setResponse)),
	alt(ActionRequest, "action-request", client(actionRequest)), alt(ActionResponse, "action-response", server(actionResponse)),
	alt(ReportResponse, "report-response", client(reportResponse)), alt(ReportNotification, "report-notification", server(reportNotification)),
	alt(ProxyRequest, "proxy-request", client(proxyRequest)), alt(ProxyResponse, "proxy-response", server(proxyResponse)),
	alt(SecurityRequest, "security-request", securityRequest), alt(SecurityResponse, "security-response", securityResponse),
	alt(ErrorRequest, "error-request", client(with(f("error", enum)))), alt(ErrorResponse, "error-response", server(with(f("error", enum)))))
