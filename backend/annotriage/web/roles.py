"""What each role may do: whoever is let in may look; what changes something takes a role that may decide, or administer."""

from __future__ import annotations

from annotriage.states import Role
from annotriage.web.sessions import SAFE

DECIDING = (  # endpoints; whatever else changes something is for administrators
    "web.pause", "web.resume", "web.recalibrate", "web.decide_spot_check", "web.retry_deliveries", "web.retry_fields",
    "web.make_report", "web.mark_dataset", "web.make_certificate", "web.keep_label", "web.start_label_audit",
    "web.start_training", "web.cancel_training", "web.set_gold", "web.forget_gold", "web.take_gold_out",
    "web.compare_versions", "web.cancel_versions", "web.look_inside", "web.stop_looking", "web.dissect_units",
    "web.propose_groups", "web.propose_similar", "web.propose_selection", "web.ask_look_alikes", "web.close_look_alikes",
    "web.split_look_alikes", "web.undo_look_alikes", "web.label_look_alikes", "web.undo_inherited",
    "web.reveal", "web.save_view", "web.delete_view", "web.map_reroute", "web.map_undo", "web.reroute", "web.undo",
    "web.answer", "web.take_back_answer", "web.set_group_aside", "web.assign_group", "web.undo_aside",
    "web.like_picture",
    "api.pause", "api.resume", "api.undo_batch", "api.recalibrate", "api.train", "api.make_certificate",
    "api.set_gold", "api.compare_versions",
    "api.propose_look_alikes", "api.ask_about_look_alikes", "api.label_look_alikes_at_once", "api.split_group_of_look_alikes",
    "api.undo_labels_at_once", "api.close_group_of_look_alikes",
)  # fmt: skip
ADMINISTERING = (
    "web.save_settings",
    "web.take_over",
    "web.add_new_class",
    "web.take_back_class",
    "web.go_back",
    "web.clear_inbox",
    "web.set_account",
    "web.remove_account",
    "api.erase_items",
    "api.push_items",
)
PRIVATE = ("web.deeds_csv", "web.accounts", "web.accounts_json")  # pages for administrators alone
FOR_ALL = ("web.sign_in", "web.sign_out")
LOOKING = ("web.map_foresee", "web.map_ask", "web.like_item")  # what would be, what is drawn or looked for, for who looks


def needed(method: str, endpoint: str | None) -> Role:
    """The role that a request takes."""
    if endpoint in (*FOR_ALL, *LOOKING) or (method in SAFE and endpoint not in PRIVATE):
        return Role.LOOK
    return Role.DECIDE if endpoint in DECIDING else Role.ADMINISTER


def refusal(role: Role, wanted: Role) -> str:
    """What somebody is told who may not do something."""
    return f"your account may {role}, and this takes one that may {wanted}; whoever administers annotriage can change that"
