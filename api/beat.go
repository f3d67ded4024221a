package api

import (
	"io"
	"net/http"

	"sereno"
	"sereno/peer"
)

// beats takes in the signed beats of other Serenos: see package peer.
func (d *desk) beats(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<12))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "a beat is a few words")
		return
	}
	if err := d.Beats(body, r.Header.Get(peer.SignatureHeader)); err != nil {
		refuse(w, codes[sereno.KindOf(err)], err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
