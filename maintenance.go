package sereno

// A Maintained is a stretch in which a device was under maintenance: written
// down when a window begins and ends for it, so that a later change of the
// window's rule changes nothing of what was.
type Maintained struct {
	Device DeviceID
	Begin  Instant
	End    Instant // 0 while it lasts
	Window string  // the name of the window
}
