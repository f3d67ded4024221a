package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sereno"
)

func TestOnlyTheHistoryOfARemovedDeviceCanBePurged(t *testing.T) {
	w := newWorld(t)
	var added Device
	w.do(201, "POST", "/api/devices", `{"name":"old","address":"10.0.0.1"}`, &added)
	path := fmt.Sprintf("/api/devices/%d", added.ID)
	var problem struct{ Detail string }
	w.do(409, "DELETE", path+"/history", "", &problem)
	if !strings.Contains(problem.Detail, "old is still watched: remove it first") {
		t.Errorf("the conflict says %q", problem.Detail)
	}
	var list Page[RemovedDevice]
	w.do(200, "GET", "/api/devices/removed", "", &list)
	if len(list.Items) != 0 {
		t.Errorf("removed are %+v", list.Items)
	}
	w.now = noon.Add(time.Hour)
	w.do(204, "DELETE", path, "", nil)
	w.do(200, "GET", "/api/devices/removed?name=old", "", &list)
	if len(list.Items) != 1 || list.Items[0].ID != added.ID || list.Items[0].Created != noon || list.Items[0].Removed != w.now || len(list.Items[0].Checks) != 1 {
		t.Errorf("removed are %+v", list.Items)
	}
	w.do(200, "GET", "/api/devices/removed?name=ol", "", &list)
	if len(list.Items) != 0 {
		t.Errorf("half a name finds %+v", list.Items)
	}
	w.do(204, "DELETE", path+"/history", "", nil)
	w.do(200, "GET", "/api/devices/removed", "", &list)
	if len(list.Items) != 0 {
		t.Errorf("after the purge removed are %+v", list.Items)
	}
	w.do(404, "DELETE", path+"/history", "", &problem)
	if want := fmt.Sprintf("there is no device with the id %d", added.ID); !strings.Contains(problem.Detail, want) {
		t.Errorf("the second time: %q", problem.Detail)
	}
	if _, err := w.Removed(t.Context(), 4711); sereno.KindOf(err) != sereno.NotFound {
		t.Errorf("a device that never was: %v", err)
	}
}
