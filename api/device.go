package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/bits"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

// A Device is the document of something that is watched. What is read-only may
// be sent and is ignored, so that a document can be read, changed and sent
// back.
type Device struct {
	ID         sereno.DeviceID   `json:"id" readOnly:"true"`
	Name       string            `json:"name" doc:"Unique, 1 to 100 characters"`
	Address    string            `json:"address" doc:"An IP address, or a host name to resolve"`
	Importance sereno.Importance `json:"importance" required:"false" enum:"critical,high,medium,low" doc:"Left out: medium"`
	Tags       []string          `json:"tags" required:"false" doc:"At most 100, such as rack:3"`
	Parents    []string          `json:"parents" required:"false" doc:"Names of the devices it hangs on, at most 100"`
	Paused     bool              `json:"paused" required:"false" doc:"Not looked at"`
	FromFile   bool              `json:"from_file" readOnly:"true" doc:"The configuration file manages it; here it can only be read"`
	Created    sereno.Instant    `json:"created" readOnly:"true" format:"date-time"`
	Status     sereno.Status     `json:"status" readOnly:"true" enum:"up,degraded,down,unknown"`
	Since      sereno.Instant    `json:"since" readOnly:"true" format:"date-time" nullable:"true" doc:"When the status began: the first of the looks that proved it"`
	Reason     string            `json:"reason" readOnly:"true" doc:"Why it has the status, for a person"`
	Cause      sereno.Cause      `json:"cause" readOnly:"true" doc:"Why it has the status, for a program"`
	Checks     []Check           `json:"checks" required:"false" doc:"How it is looked at, at most 100; left out: one icmp check with the defaults"`
	Figures    map[string]Share  `json:"figures,omitempty" readOnly:"true" required:"false" doc:"By window, such as 30d"`

	Maintenance *InMaintenance `json:"maintenance" readOnly:"true" doc:"It is worked on just now, and nobody is told of its trouble; null: it is not"`
}

// InMaintenance says that a device is under maintenance: by which window, of
// several the one that ends last.
type InMaintenance struct {
	_      struct{}       `nullable:"true"`
	Window string         `json:"window" doc:"The name of the maintenance window"`
	Until  sereno.Instant `json:"until" format:"date-time" doc:"When it ends, with all of its occurrences that touch"`
}

// A Check is the document of one way in which a device is looked at.
type Check struct {
	ID         sereno.CheckID  `json:"id" readOnly:"true"`
	Name       string          `json:"name" required:"false" doc:"Unique within its device; left out: its kind. A check that keeps its name and kind keeps its history"`
	Kind       string          `json:"kind" example:"icmp"`
	Interval   Seconds         `json:"interval_seconds" required:"false" minimum:"0.1" maximum:"86400" doc:"Between looks"`
	Timeout    Seconds         `json:"timeout_seconds" required:"false" minimum:"0.001" maximum:"86400" doc:"How long an answer may take, at most the interval"`
	Fall       int             `json:"fall" required:"false" minimum:"1" maximum:"100" doc:"Looks in a row that were not up, to leave up"`
	Rise       int             `json:"rise" required:"false" minimum:"1" maximum:"100" doc:"Looks in a row with an answer, to leave down"`
	RTTAbove   Seconds         `json:"rtt_above_seconds" required:"false" minimum:"0" maximum:"86400" doc:"A slower answer is degraded; 0: never"`
	LossAbove  float64         `json:"loss_above" required:"false" minimum:"0" exclusiveMaximum:"1" doc:"More loss than this share is degraded; 0: never"`
	LossWindow Seconds         `json:"loss_window_seconds" required:"false" minimum:"0.1" maximum:"86400000" doc:"Over which the loss is counted, at most 1000 looks"`
	Settings   json.RawMessage `json:"settings" required:"false" doc:"The kind's own settings; null for its defaults"`
	Status     sereno.Status   `json:"status" readOnly:"true" enum:"up,degraded,down,unknown"`
	Since      sereno.Instant  `json:"since" readOnly:"true" format:"date-time" nullable:"true"`
	Reason     string          `json:"reason" readOnly:"true"`
	Cause      sereno.Cause    `json:"cause" readOnly:"true"`
	Doubt      sereno.Status   `json:"doubt" readOnly:"true" enum:"up,degraded,down,unknown" doc:"What the latest looks say; the status, unless they contradict it"`
	Last       Last            `json:"last" readOnly:"true"`
	Recent     Recent          `json:"recent" readOnly:"true"`
}

// Last is the latest look of a check.
type Last struct {
	At  sereno.Instant `json:"at" format:"date-time" nullable:"true"`
	RTT *Seconds       `json:"rtt_seconds" nullable:"true" doc:"Round-trip time of the latest look that was answered"`
}

// Recent is the shape of the latest looks of a check.
type Recent struct {
	Looks   uint64 `json:"looks" doc:"Looks since the program began, without those that failed by its own fault"`
	Lost    uint64 `json:"lost" doc:"How many of them had no answer"`
	Pattern string `json:"pattern" doc:"The latest looks, at most 64, newest last: 1 was answered, 0 was not"`
}

type deviceList struct {
	Paging
	Search string `query:"search" maxLength:"253" doc:"A part of the name or the address"`
	Name   string `query:"name" maxLength:"100" doc:"Exactly this name"`
	Tag    string `query:"tag" maxLength:"100" doc:"Has this tag"`
	Status string `query:"status" enum:"up,degraded,down,unknown"`
	DeviceFigures
}

// DeviceFigures is the part of a query that asks for figures of devices.
type DeviceFigures struct {
	Figures string `query:"figures" maxLength:"100" doc:"Windows to give figures of, such as 7d,30d; without it none of a list, and 24h,7d,30d,90d,365d of one device" example:"7d,30d"`
}

// DevicePath is the part of a path that names a device.
type DevicePath struct {
	ID int64 `path:"id" minimum:"1"`
}

// DeviceBody is a body that readDevices reads.
type DeviceBody struct {
	RawBody []byte
}

type made struct {
	Location string `header:"Location"`
	Body     any
}

func (d *desk) registerDevices() {
	list := huma.Operation{OperationID: "listDevices", Method: http.MethodGet, Path: "/api/devices", Summary: "Devices, as they are now"}
	register(d, list, d.listDevices)

	get := huma.Operation{OperationID: "getDevice", Method: http.MethodGet, Path: "/api/devices/{id}", Summary: "One device, as it is now"}
	register(d, get, d.getDevice)

	one := schema[Device](d.huma)
	// huma would check a raw body against its description, which cannot say
	// where in a list a mistake is; so it gets the description afterwards.
	add := huma.Operation{
		OperationID: "addDevices", Method: http.MethodPost, Path: "/api/devices", Summary: "Watch one more device, or many: all of them or none",
		DefaultStatus: http.StatusCreated, MaxBodyBytes: maxBody, RequestBody: &huma.RequestBody{Required: true},
		Responses: map[string]*huma.Response{"201": {Description: "What was added, in the shape of the request", Content: oneOf(one, schema[Page[Device]](d.huma))}},
	}
	register(d, add, d.addDevices)
	add.RequestBody.Content = oneOf(one, &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"items"},
		Properties: map[string]*huma.Schema{"items": {Type: huma.TypeArray, Items: one}},
	})

	replace := huma.Operation{
		OperationID: "replaceDevice", Method: http.MethodPut, Path: "/api/devices/{id}", Summary: "Change a device: what is left out gets its default",
		MaxBodyBytes: maxBody, RequestBody: &huma.RequestBody{Required: true},
	}
	register(d, replace, d.replaceDevice)
	replace.RequestBody.Content = oneOf(one)

	remove := huma.Operation{OperationID: "removeDevice", Method: http.MethodDelete, Path: "/api/devices/{id}", Summary: "Watch a device no longer"}
	register(d, remove, d.removeDevice)
}

func (d *desk) listDevices(ctx context.Context, in *deviceList) (*answer[Page[Device]], error) {
	q := store.DeviceQuery{Search: in.Search, Tag: in.Tag, Cursor: in.Cursor, Limit: in.Limit}
	if in.Status != "" {
		q.Status = new(sereno.Status)
		if err := q.Status.UnmarshalText([]byte(in.Status)); err != nil {
			return nil, err
		}
	}
	var devices []sereno.Device
	var cursor string
	var err error
	if in.Name != "" {
		if in.Search != "" || in.Tag != "" || in.Status != "" {
			return nil, &sereno.Error{Kind: sereno.Invalid, Field: "query.name", Text: "a name stands alone, without search, tag or status"}
		}
		devices, err = d.named(ctx, in.Name)
	} else {
		devices, cursor, err = d.Facts.Devices(ctx, q)
	}
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	documents, err := d.devices(ctx, devices)
	if err != nil {
		return nil, err
	}
	if err := d.addShares(ctx, documents, devices, in.Figures); err != nil {
		return nil, err
	}
	return &answer[Page[Device]]{Page[Device]{documents, orNull(cursor)}}, nil
}

// named returns the one device of a name, or none.
func (d *desk) named(ctx context.Context, name string) ([]sereno.Device, error) {
	device, err := d.Facts.DeviceByName(ctx, name)
	switch {
	case err == nil:
		return []sereno.Device{device}, nil
	case sereno.KindOf(err) == sereno.NotFound:
		return nil, nil
	default:
		return nil, err
	}
}

func (d *desk) getDevice(ctx context.Context, in *struct {
	DevicePath
	DeviceFigures
},
) (*answer[Device], error) {
	device, err := d.Facts.Device(ctx, sereno.DeviceID(in.ID))
	if err != nil {
		return nil, fmt.Errorf("get device %d: %w", in.ID, err)
	}
	document, err := d.device(ctx, device, in.Figures)
	return &answer[Device]{document}, err
}

func (d *desk) addDevices(ctx context.Context, in *DeviceBody) (*made, error) {
	wanted, many, err := readDevices(d.huma.OpenAPI().Components.Schemas, in.RawBody)
	if err != nil {
		return nil, err
	}
	devices := make([]sereno.Device, len(wanted))
	for i := range wanted {
		devices[i] = wanted[i].device(d.Defaults)
	}
	if err := d.validate(ctx, devices, many); err != nil {
		return nil, err
	}
	if devices, err = d.Plan.Add(ctx, devices); err != nil {
		return nil, fmt.Errorf("add devices: %w", located(err, many))
	}
	if !many {
		document, err := d.device(ctx, devices[0], "")
		return &made{Location: fmt.Sprintf("/api/devices/%d", devices[0].ID), Body: document}, err
	}
	documents, err := d.devices(ctx, devices)
	return &made{Body: Page[Device]{Items: documents}}, err
}

func (d *desk) replaceDevice(ctx context.Context, in *struct {
	DevicePath
	DeviceBody
},
) (*answer[Device], error) {
	wanted, err := readDevice(d.huma.OpenAPI().Components.Schemas, in.RawBody)
	if err != nil {
		return nil, err
	}
	device := wanted.device(d.Defaults)
	device.ID = sereno.DeviceID(in.ID)
	if err := d.validate(ctx, []sereno.Device{device}, false); err != nil {
		return nil, err
	}
	if device, err = d.Plan.Replace(ctx, device); err != nil {
		return nil, fmt.Errorf("replace device %d: %w", in.ID, located(err, false))
	}
	document, err := d.device(ctx, device, "")
	return &answer[Device]{document}, err
}

func (d *desk) removeDevice(ctx context.Context, in *DevicePath) (*struct{}, error) {
	if err := d.Plan.Remove(ctx, sereno.DeviceID(in.ID)); err != nil {
		return nil, fmt.Errorf("remove device %d: %w", in.ID, err)
	}
	return nil, nil
}

// device makes the document of one device, with its figures over the windows
// of a list such as "7d,30d"; without one over the usual ones.
func (d *desk) device(ctx context.Context, device sereno.Device, figures string) (Device, error) {
	devices := []sereno.Device{device}
	documents, err := d.devices(ctx, devices)
	if err != nil {
		return Device{}, err
	}
	err = d.addShares(ctx, documents, devices, cmp.Or(figures, usualShares))
	return documents[0], err
}

// devices makes the documents of devices, with what is known of them now.
func (d *desk) devices(ctx context.Context, devices []sereno.Device) ([]Device, error) {
	var ids []sereno.CheckID
	for _, device := range devices {
		for _, c := range device.Checks {
			ids = append(ids, c.ID)
		}
	}
	list, err := d.Watch.Live(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("ask for the live status: %w", err)
	}
	live := make(map[sereno.CheckID]ledger.Live, len(list))
	for _, l := range list {
		live[l.Check] = l
	}
	under := d.inMaintenance(devices)
	documents := make([]Device, len(devices))
	for i, device := range devices {
		documents[i] = deviceDocument(device, live)
		if m, ok := under[device.ID]; ok {
			documents[i].Maintenance = &m
		}
	}
	return documents, nil
}

// inMaintenance returns those of some devices that are under maintenance now.
func (d *desk) inMaintenance(devices []sereno.Device) map[sereno.DeviceID]InMaintenance {
	if d.Maintenance == nil {
		return nil
	}
	ids := make([]sereno.DeviceID, len(devices))
	for i, device := range devices {
		ids[i] = device.ID
	}
	return d.Maintenance(ids)
}

func deviceDocument(d sereno.Device, live map[sereno.CheckID]ledger.Live) Device {
	views := make([]sereno.CheckView, len(d.Checks))
	checks := make([]Check, len(d.Checks))
	for i, c := range d.Checks {
		l, ok := live[c.ID]
		if !ok {
			l = ledger.Live{Since: c.Created, Cause: sereno.CauseNew}
		}
		views[i] = checkView(c, l)
		checks[i] = checkDocument(c, l)
	}
	status := sereno.DeviceStatus(views)
	return Device{
		ID: d.ID, Name: d.Name, Address: d.Address, Importance: d.Importance,
		Tags: orEmpty(d.Tags), Parents: orEmpty(d.Parents), Paused: d.Paused, FromFile: d.FromFile, Created: d.Created,
		Status: status.Status, Since: status.Since, Reason: status.Reason, Cause: status.Cause, Checks: checks,
	}
}

func checkDocument(c sereno.Check, l ledger.Live) Check {
	p := c.Policy
	return Check{
		ID: c.ID, Name: c.Name, Kind: c.Kind,
		Interval: Seconds(p.Interval), Timeout: Seconds(p.Timeout), Fall: p.Fall, Rise: p.Rise,
		RTTAbove: Seconds(p.RTTAbove), LossAbove: p.LossAbove, LossWindow: Seconds(p.LossWindow), Settings: c.Settings,
		Status: l.Status, Since: l.Since, Reason: l.Reason, Cause: l.Cause, Doubt: l.Doubt,
		Last:   Last{At: l.Last, RTT: orNull(Seconds(l.RTT))},
		Recent: Recent{Looks: l.Looks, Lost: l.Lost, Pattern: pattern(l.Recent, l.Seen)},
	}
}

// isEcho says whether a check's silence weighs more than older news of others.
func isEcho(c sereno.Check) bool { return c.Kind == echoKind }

const echoKind = "icmp"

func checkView(c sereno.Check, l ledger.Live) sereno.CheckView {
	silent := bits.TrailingZeros64(l.Recent) // looks since the latest answer
	return sereno.CheckView{
		Status: l.Status, Cause: l.Cause, Since: l.Since, Reason: l.Reason, Echo: isEcho(c),
		Answered: l.Last.Add(-time.Duration(silent) * c.Policy.Interval),
	}
}

// pattern draws the newest seen bits of recent, newest last.
func pattern(recent uint64, seen int) string {
	text := make([]byte, min(seen, 64))
	for i := range text {
		text[len(text)-1-i] = '0' + byte(recent>>i&1)
	}
	return string(text)
}

// device is what the document asks for, with defaults for what it leaves out.
func (w Device) device(defaults sereno.Policy) sereno.Device {
	device := sereno.Device{
		Name: w.Name, Address: w.Address, Importance: w.Importance,
		Tags: w.Tags, Parents: w.Parents, Paused: w.Paused,
	}
	if len(w.Checks) == 0 {
		w.Checks = []Check{{Kind: echoKind}}
	}
	for _, c := range w.Checks {
		device.Checks = append(device.Checks, c.check(defaults))
	}
	return device
}

func (w Check) check(defaults sereno.Policy) sereno.Check {
	p := defaults
	p.RTTAbove, p.LossAbove = time.Duration(w.RTTAbove), w.LossAbove
	set(&p.Interval, time.Duration(w.Interval))
	p.Timeout = min(p.Timeout, p.Interval)
	set(&p.Timeout, time.Duration(w.Timeout))
	set(&p.Fall, w.Fall)
	set(&p.Rise, w.Rise)
	set(&p.LossWindow, time.Duration(w.LossWindow))
	name := w.Kind
	set(&name, w.Name)
	return sereno.Check{Name: name, Kind: w.Kind, Policy: p, Settings: settings(w.Settings)}
}

// set changes to unless v was left out.
func set[T comparable](to *T, v T) {
	var none T
	if v != none {
		*to = v
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
