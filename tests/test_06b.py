"""Notebook 06b, with its own definitions: text, melodies, voices, clips, captions, exercises."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import exercise_works

from utils.checks import answered, check_close
from utils.notebooks import definitions
from utils.results import recorded

media = definitions("06b_media")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ------------------------------------------------------------------ text


def test_kneser_ney_is_a_distribution_and_knows_what_it_saw():
    ids = media.to_ids("the cat sat on the mat and the rat sat on the hat " * 20)
    model = media.KneserNey(ids, 5)
    for context in ("the ", "sat o", "zzzz", "q"):
        after = [model.prob(media.to_ids(context + s))[-1] for s in "abcdefghijklmnopqrstuvwxyz "]
        check_close(sum(after), 1.0, tolerance=1e-9, what=f"after {context!r}")
    assert model.prob(media.to_ids("sat on"))[-1] > 0.9


def test_kneser_ney_counts_contexts_not_runs():
    """After an unseen context "Francisco" is rare: it is often said, but after one word only."""
    ids = np.array([0, 1] * 50 + [2, 3, 4, 3, 5, 3, 6, 3, 7, 3, 8, 3])
    model = media.KneserNey(ids, 2, 10)
    unseen = [model.prob(np.array([9, s]))[-1] for s in (1, 3)]
    assert (ids == 1).sum() > 5 * (ids == 3).sum() and unseen[0] < unseen[1]


def test_a_text_is_scored_in_one_way_whatever_its_length():
    model = media.Writer(symbols=27, width=16).eval()
    ids = torch.randint(27, (150,))
    p = media.prob_of_text(model, ids, length=16)
    assert p.shape == (150,) and (p > 0).all()
    x = torch.cat([torch.full((9,), 26), ids])
    by_hand = model(x[None, 16:32])[0, 8:].softmax(-1)  # places 24 to 31 predict 25 to 32
    check_close(p[16:24], by_hand.gather(1, x[25:33, None])[:, 0], tolerance=1e-5)


def test_the_writer_does_not_see_ahead():
    model = media.Writer(symbols=5, width=16).eval()
    x = torch.randint(5, (1, 9))
    other = x.clone()
    other[0, 4] = (x[0, 4] + 1) % 5
    assert (model(x) != model(other)).any(-1)[0].tolist() == [False] * 4 + [True] * 5


def test_wrong_text_is_named():
    for text in ("Upper", "dots.", ""):
        with pytest.raises(ValueError, match="letters a to z"):
            media.to_ids(text)
    with pytest.raises(ValueError, match="order has to be"):
        media.KneserNey(np.arange(20), 13)
    for x, told in ((torch.zeros(2, 3), "int64"), (torch.tensor([[27]]), "0 to 26")):
        with pytest.raises(ValueError, match=told):
            media.checked_symbols(x, 27)


# ------------------------------------------------------------------ music and voices


def test_the_rate_is_the_entropy_of_all_melodies():
    law = media.melody_law()
    check_close(law.sum(2), torch.ones(16, 8), tolerance=1e-9)
    x = torch.tensor(list(itertools.product(range(9), repeat=4)))
    log_p = media.melody_log_prob(law, x)
    check_close(log_p.exp().sum(), 1.0, tolerance=1e-9, what="all melodies of four beats")
    check_close(media.entropy_rate(law, 4), -torch.xlogy(log_p.exp(), log_p.exp()).sum() / 4)
    drawn = media.draw_melodies(law, 3000)
    cost = -media.melody_log_prob(law, drawn) / 32
    assert abs(cost.mean() - media.entropy_rate(law)) < 5 * cost.std() / 3000**0.5


def test_notes_sound_at_their_frequency():
    wave = media.play_notes(torch.tensor([5, 8, 8, 8, 8]))
    strength = torch.fft.rfft(wave).abs()
    found = strength.argmax() * 8000 / len(wave)
    assert abs(found - 440) < 2


def test_the_sound_readers_read_what_was_spoken():
    vowel, pitch, size, tilt = media.draw_voices(40)
    sounds = media.speak(vowel, pitch, size, tilt)
    assert (media.read_vowel(sounds) == vowel).double().mean() > 0.9
    assert media.cents(media.read_pitch(sounds), pitch).abs().max() < 50
    check_close(media.cents(torch.tensor(440.0), torch.tensor(220.0)), 1200.0)
    sung = media.sing(media.log_spectrum(sounds), pitch[:, None])
    assert media.cents(media.read_pitch(sung), pitch).abs().median() < 10
    sound = media.griffin_lim(media.log_spectrum(sounds), rounds=40)
    assert (media.cents(media.read_pitch(sound), pitch).abs() < 50).double().mean() > 0.8


def test_wrong_pitch_is_named():
    for pitch in (60.0, 2000.0, math.nan):
        with pytest.raises(ValueError, match="80 to 300"):
            media.vowel_condition(torch.zeros(1, 5), torch.tensor([pitch]))


# ------------------------------------------------------------------ pictures


def test_captions_say_what_is_painted():
    assert len(media.COMBINATIONS) == 48 and len(media.HELD) == 8
    y = media.COMBINATIONS.repeat(4, 1)
    right = media.shares_right(media.paint_as_asked(y, seed=5), y)
    assert min(right) > 94
    wrong = y.roll(1, 0)
    assert media.shares_right(media.paint_as_asked(y, seed=5), wrong)[4] < 10
    sentences = {media.caption(y, form) for y in media.COMBINATIONS for form in range(3)}
    assert len(sentences) == 144
    assert all(len(media.to_words(s)) == 9 for s in sentences)
    for pair in itertools.combinations(range(4), 2):  # each pair of values is seen somewhere
        seen = media.COMBINATIONS[~media.among(media.COMBINATIONS, media.HELD)][:, list(pair)]
        assert len(seen.unique(dim=0)) == len(media.COMBINATIONS[:, list(pair)].unique(dim=0))


def test_wrong_captions_are_named():
    with pytest.raises(ValueError, match="trees 0 to 3"):
        media.caption([0, 4, 0, 0])
    with pytest.raises(ValueError, match="'dog' is unknown"):
        media.to_words("a dog and two trees in summer low horizon")
    with pytest.raises(ValueError, match="nine words"):
        media.to_words("a house")
    with pytest.raises(ValueError, match="one for each"):
        media.paint(None, None, None, torch.zeros(3, 9).long(), torch.randn(2, 24), 0, 1)


def test_guidance_is_a_straight_line_in_the_weight():
    def velocity(z, t, c):
        return c[:, :2] + 0 * z

    c, none, eps = torch.ones(5, 2), torch.zeros(5, 2), torch.randn(5, 2)
    for w in (0.0, 1.0, 3.0):
        found = media.flow_sample(velocity, eps, c, none, guidance=w, steps=3)
        check_close(found, eps + w, what=f"a constant velocity at w = {w}")


def test_the_sampler_solves_a_known_flow():
    """dz/dt = z takes z to e z."""
    eps = torch.randn(4, 2)
    found = media.flow_sample(lambda z, t, c: z, eps, eps, eps, guidance=1.0, steps=50)
    check_close(found, math.e * eps, tolerance=1e-3)


def test_clips_are_constant_and_their_light_runs_on_a_line():
    clips, _, _, path = media.film(60, seed=3)
    assert clips.shape == (60, 8, 3, 32, 32)
    steps = path.diff(dim=1)
    check_close(steps, steps.mean(1, keepdim=True).expand_as(steps), tolerance=1e-5)
    found = media.clip_scores(clips)
    assert min(found[n] for n in ("house", "trees", "horizon", "time")) > 85
    assert found["light"] < 0.8 and found["path"] > 12
    mixed = clips.flatten(0, 1)[torch.randperm(480)].view_as(clips)
    assert media.clip_scores(mixed)["trees"] < 20
    assert media.clip_scores(clips.flip(1))["time"] == 0


# ------------------------------------------------------------------ one body, six families


def test_probabilities_sum_to_one_and_agree_with_all_orders():
    check_close(media.chain_log_prob(media.STRINGS).exp().sum(), 1.0, tolerance=1e-9)
    for family in (media.Autoregressive, media.Masked, media.Latent, media.Energy):
        log_q = family().eval().log_prob(media.STRINGS).double()
        check_close(log_q.exp().sum(), 1.0, tolerance=1e-4, what=family.__name__)
    masked, x = media.Masked().eval(), media.STRINGS[1234:1235]
    total = 0.0
    for order in itertools.permutations(range(6)):
        hidden, q = torch.ones(1, 6, dtype=torch.bool), 1.0
        for i in order:
            q *= masked.filled(x, hidden)[0, i, x[0, i]].exp().item()
            hidden[0, i] = False
        total += q / 720
    check_close(masked.log_prob(x).exp()[0], total, tolerance=1e-5, what="720 orders")


def test_the_loss_of_masked_diffusion_is_a_bound():
    masked, x = media.Masked().eval(), media.STRINGS[77:78].repeat(20_000, 1)
    with torch.no_grad():
        bound = masked.loss(x)
    error = (bound.std() / len(x) ** 0.5).item()
    assert bound.mean() > -masked.log_prob(x[:1])[0] - 4 * error


def test_the_causal_body_does_not_see_ahead():
    model, x = media.Autoregressive().eval(), media.STRINGS[100:101].clone()
    logits = model.body(torch.nn.functional.pad(media.letters(x)[:, :-1], (0, 0, 1, 0)))
    x[0, 3] = (x[0, 3] + 1) % 4
    other = model.body(torch.nn.functional.pad(media.letters(x)[:, :-1], (0, 0, 1, 0)))
    assert (logits != other).any(-1)[0].tolist() == [False] * 4 + [True] * 2


def test_total_variation():
    log_p = media.chain_log_prob(media.STRINGS)
    x = media.chain_sample(log_p, 100_000)
    assert media.total_variation(x, log_p) < 0.06
    assert 0.9 < media.total_variation(torch.zeros(9, 6).long(), log_p) <= 1


# ------------------------------------------------------------------ exercises

EXERCISES = [
    (
        2,
        "def my_weight(p, q):\n    return (p / (p + q)).mean()\n",
        "the weight for three characters",
    ),
    (
        3,
        "def my_rate(law, length=32):\n    rows = -torch.xlogy(law, law).sum(2)\n"
        "    return float(rows.mean())\n",
        "the rate over one beat",
    ),
    (
        4,
        "def my_pitch(sound):\n    r = [(sound[:len(sound)-l] * sound[l:]).sum() for l in "
        "range(30, 90)]\n    return 8000 / (30 + int(torch.stack(r).argmax()))\n",
        "cents off|is read as",
    ),
    (
        6,
        "def my_any_order(conditional):\n    return conditional.mean(0).prod()\n",
        "the mean over 24 orders",
    ),
]


@pytest.mark.parametrize("number, wrong, where", EXERCISES)
def test_exercise(number, wrong, where):
    names = dict(
        vars(media),
        answered=answered,
        check_close=check_close,
        itertools=itertools,
        math=math,
        np=np,
    )
    exercise_works("06b_media", number, names, wrong, where)


def test_what_the_text_says_of_all_seeds():
    """Counting ahead of the network, the form of the pitch, held-out captions, six families."""
    for run in recorded("06b_media").values():
        assert 0.1 < run["bits_transformer"] - run["bits_ngram"] < 0.25
        assert run["bits_mixture"] < run["bits_ngram"]
        assert run["vowel_one_number"] < run["vowel_read"] - 20
        assert run["vowel_kl_once"] < run["vowel_read"] - 5
        assert run["held_gap"] < 5
        assert run["plain_held_four"] < run["plain_seen_four"] < run["seen_four"]
        kls = [run[f"kl_{name}"] for name in ("autoregressive", "masked", "energy", "vae")]
        assert kls == sorted(kls)
