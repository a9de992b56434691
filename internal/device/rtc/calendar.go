package rtc

import "time"

// The time registers hold either form: BCD or binary, 12 or 24 hours.

func (r *registers) encode(v int) uint8 {
	if r.cmos[regB]&bDM != 0 {
		return uint8(v)
	}
	return uint8(v/10<<4 | v%10)
}

func (r *registers) decode(v uint8) int {
	if r.cmos[regB]&bDM != 0 {
		return int(v)
	}
	return int(v>>4)*10 + int(v&15)
}

func (r *registers) encodeHour(h int) uint8 {
	if r.cmos[regB]&b24 != 0 {
		return r.encode(h)
	}
	v := r.encode((h+11)%12 + 1)
	if h >= 12 {
		v |= hourPM
	}
	return v
}

func (r *registers) decodeHour(v uint8) int {
	if r.cmos[regB]&b24 != 0 {
		return r.decode(v)
	}
	h := r.decode(v&^hourPM) % 12
	if v&hourPM != 0 {
		h += 12
	}
	return h
}

// show puts a time, in seconds since 1970, into the registers.
func (r *registers) show(sec int64) {
	t := time.Unix(sec, 0).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	r.cmos[regSeconds] = r.encode(second)
	r.cmos[regMinutes] = r.encode(minute)
	r.cmos[regHours] = r.encodeHour(hour)
	r.cmos[regWeekday] = r.encode(int(t.Weekday()) + 1)
	r.cmos[regDay] = r.encode(day)
	r.cmos[regMonth] = r.encode(int(month))
	year = ((year-r.firstYear)%10000 + 10000) % 10000
	r.cmos[regYear] = r.encode(year % 100)
	r.cmos[regCentury] = r.encode(year / 100)
}

// shown returns the time in the registers, in seconds since 1970. Whatever they
// hold is some time.
func (r *registers) shown() int64 {
	year := r.firstYear + r.decode(r.cmos[regCentury])*100 + r.decode(r.cmos[regYear])
	return time.Date(year, time.Month(r.decode(r.cmos[regMonth])), r.decode(r.cmos[regDay]),
		r.decodeHour(r.cmos[regHours]), r.decode(r.cmos[regMinutes]), r.decode(r.cmos[regSeconds]), 0, time.UTC).Unix()
}

func isTime(reg uint8) bool {
	switch reg {
	case regSeconds, regMinutes, regHours, regWeekday, regDay, regMonth, regYear, regCentury:
		return true
	}
	return false
}

// alarmField is one alarm register as a number, -1 if any value matches, and
// whether it can match at all.
func alarmField(reg uint8, value, limit int) (int, bool) {
	if reg&alarmAny == alarmAny {
		return -1, true
	}
	return value, value < limit
}

const never = int64(-1 << 63)

// nextAlarm returns the first second after sec in which the alarm matches, or never.
func (r *registers) nextAlarm(sec int64) int64 {
	h, hok := alarmField(r.cmos[regHoursAlarm], r.decodeHour(r.cmos[regHoursAlarm]), 24)
	m, mok := alarmField(r.cmos[regMinutesAlarm], r.decode(r.cmos[regMinutesAlarm]), 60)
	s, sok := alarmField(r.cmos[regSecondsAlarm], r.decode(r.cmos[regSecondsAlarm]), 60)
	if !hok || !mok || !sok {
		return never
	}
	sec++
	const day = 24 * 3600
	ofDay := ((sec % day) + day) % day
	midnight := sec - ofDay
	hh, mm, ss := int(ofDay/3600), int(ofDay/60%60), int(ofDay%60)
	// From the smallest field up: when a field must wrap, the next one advances.
	if s >= 0 && ss != s {
		if ss > s {
			mm++
		}
		ss = s
	}
	if m >= 0 && mm != m || mm == 60 {
		if m < 0 || mm > m {
			hh++
			mm = max(m, 0)
		} else {
			mm = m
		}
		ss = max(s, 0)
	}
	if h >= 0 && hh != h || hh == 24 {
		if h < 0 || hh > h {
			midnight += day
			hh = max(h, 0)
		} else {
			hh = h
		}
		mm, ss = max(m, 0), max(s, 0)
	}
	return midnight + int64(hh)*3600 + int64(mm)*60 + int64(ss)
}
