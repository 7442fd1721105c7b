"""The simulated machines: healthy ones are quiet, faults grow, a seed fixes everything."""

import numpy as np
import pytest

from tocsin.plant.emission import waveform_message
from tocsin.plant.faults import DEMO_SCHEDULE, Fault
from tocsin.plant.machines import Machine, plant, readings
from tocsin.plant.simulate import emit
from tocsin.plant.training import KINDS, healthy_runs
from tocsin.plant.vibration import bpfo_hz, features_of, waveforms


def machine(asset: str, seed: int = 0) -> Machine:
    return next(each for each in plant(seed) if each.asset == asset)


def test_the_plant_has_five_pumps_four_motors_and_three_compressors_and_four_of_them_fail() -> None:
    assets = [each.asset for each in plant(0)]
    assert [sum(name.startswith(kind) for name in assets) for kind in KINDS] == [5, 4, 3]
    assert len({fault.asset for fault in DEMO_SCHEDULE}) == 4
    assert {fault.asset for fault in DEMO_SCHEDULE} < set(assets)


def test_a_seed_gives_the_same_readings_and_another_seed_others() -> None:
    def first_messages(seed: int) -> list[bytes]:
        stream = emit(plant(seed), DEMO_SCHEDULE, 4.0, 10**18)
        return [message.payload for _ in range(30) for message in next(stream)[1]]

    assert first_messages(1) == first_messages(1)
    assert first_messages(1) != first_messages(2)


def test_no_channel_ever_uses_a_time_twice() -> None:
    stream = emit(plant(0), (), 4.0, 10**18)
    rows = [row[:3] for _ in range(500) for message in next(stream)[1] for row in message.rows]
    assert len(rows) == len(set(rows))
    assert all(time_ns % 1_000_000 == 0 for _, _, time_ns in rows)


def test_bearing_wear_makes_the_vibration_stronger_and_more_impulsive() -> None:
    pump = machine("pump-2")
    wear = Fault("pump-2", "bearing_wear", start_s=10.0, growth_s=30.0)
    waves = waveforms(pump, np.array([0.0, 25.0, 32.5, 40.0]), [wear], pump.rng("test"))
    for name, values in features_of(waves).items():
        assert np.all(np.diff(values) > 0), name


def test_the_outer_race_frequency_of_a_ball_bearing_is_about_0_4_times_balls_and_turns() -> None:
    assert bpfo_hz(np.array([25.0]))[0] == pytest.approx(0.4 * 9 * 25.0)


def test_cavitation_lowers_and_unsettles_the_pressure_and_raises_vibration() -> None:
    pump, times_s = machine("pump-4"), np.arange(0.0, 200.0, 0.25)
    fault = Fault("pump-4", "cavitation", start_s=0.0, growth_s=0.1)
    well = readings(pump, times_s, (), pump.rng("test"), spikes=False)["pressure"]
    ill = readings(pump, times_s, [fault], pump.rng("test"), spikes=False)["pressure"]
    assert ill[1:].mean() < 0.8 * well.mean()
    assert np.diff(ill[1:]).std() > 3 * np.diff(well).std()
    quiet = waveforms(pump, times_s[1:9], (), pump.rng("test"))
    hissing = waveforms(pump, times_s[1:9], [fault], pump.rng("test"))
    assert features_of(hissing)["rms"].min() > 2 * features_of(quiet)["rms"].max()


def test_fouling_raises_current_and_temperature_and_lowers_pressure() -> None:
    compressor, times_s = machine("compressor-1"), np.arange(0.0, 200.0, 0.5)
    fault = Fault("compressor-1", "fouling", start_s=0.0, growth_s=1.0)
    well, ill = (readings(compressor, times_s, faults, compressor.rng("test")) for faults in ((), (fault,)))
    assert ill["current"].mean() > 1.2 * well["current"].mean()
    assert ill["temperature"].mean() > 10 + well["temperature"].mean()
    assert ill["pressure"].mean() < 0.9 * well["pressure"].mean()


def test_a_stuck_sensor_freezes_one_channel_and_no_other() -> None:
    motor, times_s = machine("motor-3"), np.arange(0.0, 60.0, 0.5)
    fault = Fault("motor-3", "stuck_sensor", start_s=10.0, channel="speed")
    measured = readings(motor, times_s, [fault], motor.rng("test"))
    assert np.ptp(measured["speed"][times_s >= 10.0]) == 0.0
    assert np.ptp(measured["speed"][times_s < 10.0]) > 0.0
    assert np.ptp(measured["current"][times_s >= 10.0]) > 1.0


def test_a_fault_leaves_all_other_machines_alone() -> None:
    pump, times_s = machine("pump-1"), np.arange(0.0, 30.0, 0.5)
    with_faults = readings(pump, times_s, DEMO_SCHEDULE, pump.rng("test"))
    without = readings(pump, times_s, (), pump.rng("test"))
    assert all(np.array_equal(with_faults[name], without[name]) for name in without)


def test_spikes_last_a_single_sample_and_are_rare() -> None:
    pump, times_s = machine("pump-1"), np.arange(0.0, 2000.0, 0.25)
    clean, spiked = (
        readings(pump, times_s, (), pump.rng("test"), spikes=spikes)["temperature"] for spikes in (False, True)
    )
    struck = np.abs(spiked - clean) > 1.0
    assert 0 < struck.mean() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_healthy_frames_have_the_channels_of_the_edge_and_stay_within_physical_ranges(kind: str) -> None:
    channels, runs, period_s = healthy_runs(next(each for each in KINDS if each == kind), 300.0, 7)
    frames = np.concatenate(runs)
    names = [channel.name for channel in channels]
    assert ("pressure" in names) == (kind != "motor")
    assert names[-3:] == ["vibration.rms", "vibration.kurtosis", "vibration.crest"]
    assert frames.shape[1] == len(names)
    assert len(frames) == pytest.approx(300 / period_s, abs=5)
    limits: dict[str, tuple[float, float]] = {
        "temperature": (30, 90),
        "pressure": (3, 8),
        "current": (30, 130),
        "speed": (1000, 3100),
    }
    limits |= {"vibration.rms": (0.1, 0.25), "vibration.kurtosis": (1.5, 3), "vibration.crest": (1.5, 4)}
    for column, name in zip(frames.T, names, strict=True):
        low, high = limits[name]
        assert low < column.min() <= column.max() < high, name


def test_the_row_of_a_waveform_is_the_rms_of_what_is_sent() -> None:
    import orjson

    pump = machine("pump-1")
    message = waveform_message(pump, 0.0, 10**18, (), pump.rng("test"))
    content = orjson.loads(message.payload)
    assert content["ts"] == 10**12
    assert content["dt"] == 1 / 12_800
    assert len(content["values"]) == 1024
    assert message.rows[0].value == pytest.approx(float(np.std(content["values"])), rel=1e-6)
